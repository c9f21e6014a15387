// Calls.kt
package readme

import app.onlycare.signaling.Call
import app.onlycare.signaling.Link
import app.onlycare.signaling.LinkStatus
import app.onlycare.signaling.Phase
import app.onlycare.signaling.Phone
import app.onlycare.signaling.PhoneOptions
import app.onlycare.signaling.PushOutcome
import app.onlycare.signaling.Refusal
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.launch

/** What the app shows. */
interface Screens {
    fun ring(call: Call)
    fun offline(away: Boolean)
    fun login()
    fun talk(channel: Any?, token: Any?)
    fun text(text: String)
    fun close()
}

/** One for the whole app: in the Application class, in a scope that lives as long as the process. */
class Calls(url: String, userId: String, installation: String, freshToken: () -> String?, scope: CoroutineScope, private val screens: Screens) {
    val phone = Phone(PhoneOptions(url, userId, installation, { freshToken() }))

    init {
        scope.launch { phone.incoming.collect { screens.ring(it) } }
        scope.launch { phone.link.collect(::linkIs) }
        phone.connect()
    }

    private fun linkIs(link: Link) {
        screens.offline(link.status == LinkStatus.WAITING)
        if (link.status == LinkStatus.REFUSED && link.reason == Refusal.LOGIN) screens.login()
    }

    /** From ProcessLifecycleOwner's onStart and from ConnectivityManager's onAvailable. */
    fun cameBack() = phone.resume()

    /** From FirebaseMessagingService.onMessageReceived, with `message.data`. Whether it was a call's. */
    fun pushed(data: Map<String, String>): Boolean {
        phone.connect()
        return phone.handlePush(data) != PushOutcome.NOT_A_CALL
    }

    /** From the screen of a call, in its scope. */
    suspend fun show(call: Call) {
        call.state.collect { state ->
            when (state.phase) {
                Phase.CALLING, Phase.ANSWERING -> screens.text("…")
                Phase.RINGING -> screens.text(if (state.alerting) "It rings" else if (state.byPush) "Waking the other phone" else "Calling")
                Phase.ACTIVE -> screens.talk(call.fields["channelName"], call.fields["agoraToken"])
                Phase.ENDED -> screens.close()
            }
        }
    }
}
