@file:Suppress("unused")

package readme

import app.onlycare.signaling.Call
import app.onlycare.signaling.CallOptions
import app.onlycare.signaling.CallType
import app.onlycare.signaling.ErrorCode
import app.onlycare.signaling.Phase
import app.onlycare.signaling.Phone
import app.onlycare.signaling.PhoneOptions
import app.onlycare.signaling.PushOutcome

// The examples of the docstrings, so that they compile.

suspend fun phone() {
    val phone = Phone(PhoneOptions("http://127.0.0.1:3001", "USR_1001", "kitchen-tablet", { "a bearer token" }))
    phone.connect()
    phone.incoming.collect { call -> call.answer() }
}

suspend fun incoming(phone: Phone) {
    phone.incoming.collect { call -> println("${call.fields["callerName"]} calls") }
}

suspend fun dial(phone: Phone) {
    val call = phone.call("USR_1002", CallType.VIDEO, CallOptions(channelName = "channel-1", agoraToken = "006a"))
    val dialled = call.dialled()
    if (dialled.error?.code == ErrorCode.BUSY) println("he talks to somebody else")
}

fun push(phone: Phone) {
    phone.connect()
    val data = mapOf("type" to "incoming_call", "callId" to "CALL_17", "callerId" to "USR_1001")
    if (phone.handlePush(data) == PushOutcome.NOT_A_CALL) println("somebody else handles it")
}

suspend fun screen(call: Call) {
    call.state.collect { state ->
        when (state.phase) {
            Phase.ACTIVE -> println("talk on ${call.fields["channelName"]}")
            Phase.ENDED -> println("over: ${state.reason}")
            else -> println(if (state.alerting) "it rings" else "…")
        }
    }
}
