// TwoPhones.kt
package readme

import app.onlycare.signaling.CallType
import app.onlycare.signaling.LinkStatus
import app.onlycare.signaling.Phase
import app.onlycare.signaling.Phone
import app.onlycare.signaling.PhoneOptions
import kotlin.system.exitProcess
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

fun main(): Unit = runBlocking {
    val url = System.getenv("SIGNALING_URL") ?: "http://127.0.0.1:3001"
    fun phone(userId: String) = Phone(PhoneOptions(url, userId, "device-of-$userId", { "token-of-$userId" }))
    val ana = phone("USR_1001")
    val bo = phone("USR_1002")
    ana.connect()
    bo.connect()

    val answering = launch {
        bo.incoming.collect { call ->
            println("bo: ${call.peer} calls, ${call.callType}")
            call.answer().error?.let { println("bo: ${it.code}") }
        }
    }
    bo.link.first { it.status == LinkStatus.READY }

    val call = ana.call("USR_1002", CallType.VIDEO)
    call.dialled().error?.let { println("ana: ${it.code}") }
    call.state.first { it.phase == Phase.ACTIVE || it.phase == Phase.ENDED }
    println("ana: ${call.state.value.phase}")
    call.hangUp()
    println("ana: ${call.state.value.phase}, ${call.state.value.reason}")

    answering.cancel()
    ana.close()
    bo.close()
    // The HTTP client's threads would keep a terminal waiting for a minute.
    exitProcess(0)
}
