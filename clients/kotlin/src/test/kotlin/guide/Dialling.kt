// Dialling.kt
package guide

import app.onlycare.signaling.Call
import app.onlycare.signaling.CallOptions
import app.onlycare.signaling.CallType
import app.onlycare.signaling.Role
import java.util.concurrent.ConcurrentHashMap
import kotlinx.coroutines.launch

object Dialling {
    /** The caller's own media tokens, by call. */
    private val own = ConcurrentHashMap<String, String>()

    fun tokenOf(call: Call): String? = if (call.role == Role.CALLER) own[call.id] else call.fields["agoraToken"] as? String

    /** Shows at once; `call.dialled()` says what the server thinks of it. */
    suspend fun dial(app: CallApp, callee: String, type: CallType): Call {
        val created = Backend.createCall(callee)
        val call = app.phone.call(callee, type, CallOptions(created.callId, created.channelName, created.calleeToken))
        own[call.id] = created.ownToken
        app.scope.launch { app.talkOf(call) }
        return call
    }
}
