// PushService.kt
package guide

import app.onlycare.signaling.PushOutcome
import com.google.firebase.messaging.FirebaseMessagingService
import com.google.firebase.messaging.RemoteMessage

class PushService : FirebaseMessagingService() {
    override fun onMessageReceived(message: RemoteMessage) {
        val phone = (application as CallApp).phone
        phone.connect()
        if (phone.handlePush(message.data) == PushOutcome.NOT_A_CALL) showOther(message)
    }

    private fun showOther(message: RemoteMessage) {
        // Chats, offers: as before.
    }
}
