package app.onlycare.signaling

import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.CountDownLatch
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Listeners, without a server. */
class ListenersTest {
    private val phone = Phone(PhoneOptions("http://127.0.0.1:1", "USR_1", "device", { "token" }))

    private fun push(n: Int) =
        phone.handlePush(mapOf("type" to "incoming_call", "callId" to "CALL_$n", "callerId" to "USR_2"))

    /** Runs [work] while a listener keeps the news waiting. */
    private fun meanwhile(work: () -> Unit) {
        val go = CountDownLatch(1)
        phone.tell { go.await() }
        work()
        go.countDown()
    }

    private fun settled() {
        val done = CountDownLatch(1)
        phone.tell { done.countDown() }
        done.await()
    }

    @Test
    fun `who begins to listen while news are on their way hears each once, in order`() {
        val calls = CopyOnWriteArrayList<String>()
        val phases = CopyOnWriteArrayList<Phase>()
        val links = CopyOnWriteArrayList<LinkStatus>()
        meanwhile {
            push(1)
            phone.onIncoming { calls += it.id }
            val call = phone.calls.value.single()
            call.answer {}
            phone.onWorker { }
            call.onState { phases += it.phase }
            call.decline(null) {}
            phone.connect()
            phone.onLink { links += it.status }
            phone.close()
            push(2)
        }
        settled()
        assertEquals(listOf("CALL_1", "CALL_2"), calls)
        assertEquals(listOf(Phase.ANSWERING, Phase.ENDED), phases)
        assertEquals(listOf(LinkStatus.CONNECTING, LinkStatus.IDLE), links)
    }

    @Test
    fun `who has closed hears no more, also of what was on its way`() {
        val calls = CopyOnWriteArrayList<String>()
        meanwhile {
            push(1)
            phone.onIncoming { calls += it.id }.close()
            push(2)
        }
        settled()
        assertTrue(calls.isEmpty(), "$calls")
    }

    /** Debugged coroutines, as in these tests, rename the thread. */
    @Test
    fun `who collects on the phone's own thread may say a word at once`() {
        val scope = CoroutineScope(Dispatchers.Unconfined)
        push(1)
        val ring = phone.calls.value.single()
        val dialled = CompletableDeferred<Call>()
        scope.launch {
            ring.state.first { it.phase == Phase.ENDED }
            dialled.complete(phone.call("USR_3", CallType.AUDIO))
        }
        scope.launch {
            phone.link.first { it.status == LinkStatus.CONNECTING }
            phone.handlePush(mapOf("type" to "call_cancelled", "callId" to "CALL_1"))
        }
        phone.connect()
        val call = runBlocking { withTimeout(5_000) { dialled.await() } }
        assertEquals(listOf(call), phone.onWorker { phone.calls.value })
        assertEquals(Outcome.OK, runBlocking { call.cancel() })
        assertEquals(EndReason.CANCELLED, call.state.value.reason)
        scope.cancel()
        phone.close()
    }

    @Test
    fun `each collector hears of each ring, also of one that is over when it comes to it`() = runBlocking {
        val scope = CoroutineScope(Dispatchers.Default)
        val go = CompletableDeferred<Unit>()
        val collectors = List(2) {
            val answers = CompletableDeferred<Unit>()
            val rang = scope.async {
                phone.incoming.onEach {
                    answers.complete(Unit)
                    go.await()
                }.take(3).toList()
            }
            answers to rang
        }
        push(1)
        withTimeout(5_000) { for ((answers, _) in collectors) answers.await() }
        push(2)
        phone.handlePush(mapOf("type" to "call_cancelled", "callId" to "CALL_2"))
        push(3)
        go.complete(Unit)
        for ((_, rang) in collectors) {
            val calls = withTimeout(5_000) { rang.await() }
            assertEquals(listOf("CALL_1", "CALL_2", "CALL_3"), calls.map { it.id })
            assertEquals(listOf(Phase.RINGING, Phase.ENDED, Phase.RINGING), calls.map { it.state.value.phase })
        }
        scope.cancel()
    }

    @Test
    fun `a listener that throws, even an error, keeps nothing from the others`() = runBlocking {
        val calls = CopyOnWriteArrayList<String>()
        phone.onIncoming { throw NoClassDefFoundError("thrown by a test") }
        phone.onIncoming { error("thrown by a test") }
        phone.onIncoming { calls += it.id }
        push(1)
        push(2)
        settled()
        assertEquals(listOf("CALL_1", "CALL_2"), calls)
        assertEquals(4, phone.log.count { "a listener failed" in it.text })
    }
}
