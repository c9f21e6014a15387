// RingNotification.kt
package guide

import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.PendingIntent
import android.content.Context
import android.content.Intent
import androidx.core.app.NotificationCompat
import androidx.core.app.Person
import app.onlycare.signaling.Call

class RingNotification(private val context: Context) {
    private val notifications = context.getSystemService(NotificationManager::class.java)

    init {
        notifications.createNotificationChannel(NotificationChannel("rings", "Calls", NotificationManager.IMPORTANCE_HIGH))
    }

    fun show(call: Call) {
        // By the caller's token, not by what his phone says.
        val caller = Person.Builder().setName(call.fields["callerName"] as? String ?: call.peer).build()
        val left = (call.fields["expiresInMs"] as? Number)?.toLong() ?: 30_000L
        val open = screen(call, null)
        val style = NotificationCompat.CallStyle.forIncomingCall(caller, screen(call, "decline"), screen(call, "answer"))
        notifications.notify(
            call.id.hashCode(),
            NotificationCompat.Builder(context, "rings")
                .setSmallIcon(android.R.drawable.sym_call_incoming)
                .setCategory(NotificationCompat.CATEGORY_CALL)
                .setPriority(NotificationCompat.PRIORITY_MAX)
                .setOngoing(true)
                // By the system: when the ring is over this process may be frozen, or gone.
                .setTimeoutAfter(left + 3_000)
                .setStyle(style)
                .setFullScreenIntent(open, true)
                .build(),
        )
    }

    fun hide(call: Call) = notifications.cancel(call.id.hashCode())

    private fun screen(call: Call, word: String?): PendingIntent {
        val intent = Intent(context, CallActivity::class.java).putExtra("call", call.id).putExtra("word", word)
        // One for each word: intents that differ in extras only are the same to Android.
        val request = "${call.id}/$word".hashCode()
        return PendingIntent.getActivity(context, request, intent, PendingIntent.FLAG_IMMUTABLE or PendingIntent.FLAG_UPDATE_CURRENT)
    }
}
