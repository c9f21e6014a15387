package android.app

import android.content.Context
import android.content.Intent
import android.os.Bundle
import android.os.IBinder
import android.view.View
import stubs.Device

open class Application : Context() {
    open fun onCreate(): Unit = Unit
}

open class Activity : Context() {
    var intent: Intent = Intent(this, Activity::class.java)
    var title: CharSequence? = null

    @Volatile
    var finished = false
    val application: Application get() = Device.application

    @Volatile
    var content: View? = null

    fun create() = onCreate(null)

    protected open fun onCreate(saved: Bundle?): Unit = Unit

    protected open fun onNewIntent(intent: Intent): Unit = Unit

    protected open fun onDestroy(): Unit = Unit

    fun setContentView(view: View) {
        content = view
    }

    fun runOnUiThread(action: Runnable) = action.run()

    fun finish() {
        finished = true
        Device.activities -= this
        onDestroy()
    }
}

abstract class Service : Context() {
    val application: Application get() = Device.application

    @Volatile
    var foreground: Int? = null

    abstract fun onBind(intent: Intent): IBinder?

    open fun onStartCommand(intent: Intent?, flags: Int, startId: Int): Int = START_NOT_STICKY

    fun stopSelf() {
        Device.services -= this
    }

    companion object {
        const val START_NOT_STICKY: Int = 2
    }
}

class Notification(
    val title: String?,
    val fullScreen: PendingIntent?,
    val decline: PendingIntent?,
    val answer: PendingIntent?,
    val timeoutMs: Long?,
)

class NotificationChannel(val id: String, val name: CharSequence, val importance: Int)

class NotificationManager {
    fun createNotificationChannel(channel: NotificationChannel) = check(channel.importance == IMPORTANCE_HIGH)

    fun notify(id: Int, notification: Notification) {
        Device.notifications[id] = notification
    }

    fun cancel(id: Int) {
        Device.notifications.remove(id)
    }

    companion object {
        const val IMPORTANCE_HIGH: Int = 4
    }
}

class PendingIntent private constructor(private val intent: Intent) {
    fun send() = Device.open(intent)

    companion object {
        const val FLAG_IMMUTABLE: Int = 1 shl 26
        const val FLAG_UPDATE_CURRENT: Int = 1 shl 27
        private val made = java.util.concurrent.ConcurrentHashMap<Int, PendingIntent>()

        /** As on a device: the same request code is the same intent. */
        fun getActivity(@Suppress("UNUSED_PARAMETER") context: Context, request: Int, intent: Intent, flags: Int): PendingIntent {
            check(flags and FLAG_IMMUTABLE != 0)
            return made.getOrPut(request) { PendingIntent(intent) }
        }
    }
}
