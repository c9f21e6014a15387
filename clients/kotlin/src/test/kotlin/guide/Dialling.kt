// Dialling.kt
package guide

import app.onlycare.signaling.Call
import app.onlycare.signaling.CallOptions
import app.onlycare.signaling.CallType
import kotlinx.coroutines.launch

object Dialling {
    /** Shows at once; `call.dialled()` says what the server thinks of it. */
    suspend fun dial(app: CallApp, callee: String, type: CallType): Call {
        val created = Backend.createCall(callee)
        val further = mapOf("agoraAppId" to created.agoraAppId)
        val call = app.phone.call(callee, type, CallOptions(created.callId, created.channelName, created.calleeToken, further))
        // A second tap is the call that goes on already.
        if (call.id != created.callId) return call
        app.media.keep(call.id, Media(created.agoraAppId, created.channelName, created.ownToken))
        app.scope.launch { app.talkOf(call) }
        return call
    }
}
