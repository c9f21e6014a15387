package app.onlycare.signaling

import kotlinx.coroutines.async
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.AfterAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeAll
import org.junit.jupiter.api.Test

/** The library against real nodes. */
class PhoneTest {
    @Test
    fun `two calls, one after the other, over polling that becomes a websocket`() = runBlocking {
        val (ana, bo) = pair()
        val options = CallOptions(agoraToken = "006a", further = mapOf("balanceTime" to "12:30", "deep" to listOf(1, mapOf("a" to true))))
        val first = ana.call(bo.user, CallType.VIDEO, options)
        assertSame(first, ana.call(bo.user, CallType.VIDEO), "a second tap is the same call")
        val there = rings(bo)
        assertEquals(ana.user, there.peer)
        assertEquals("12:30", there.fields["balanceTime"])
        assertEquals(listOf(1, mapOf("a" to true)), there.fields["deep"])
        assertEquals(Outcome.OK, first.dialled())
        first.state.soon { it.alerting }
        assertEquals(listOf(Outcome.OK, Outcome.OK), listOf(async { there.answer() }, async { there.answer() }).map { it.await() })
        first.reaches(Phase.ACTIVE)
        assertEquals(Outcome(null, 1), first.send(mapOf("text" to "hello")))
        assertEquals(Outcome(null, 1), first.send(mapOf("type" to "chat", "text" to "kept"), keep = true, id = "m1"))
        val heard = withTimeout(PATIENCE_MS) { there.messages.take(2).toList() }
        assertEquals(ana.user to mapOf("text" to "hello"), heard[0].senderId to heard[0].data)
        assertEquals("m1" to true, heard[1].id to heard[1].kept)
        assertEquals(Outcome.OK, first.hangUp())
        there.reaches(Phase.ENDED, EndReason.HUNG_UP)
        val state = first.state.value

        val second = bo.call(ana.user, CallType.AUDIO)
        assertEquals(Outcome.OK, rings(ana).decline("In a meeting"))
        second.reaches(Phase.ENDED, EndReason.REJECTED)
        assertEquals("In a meeting", second.state.value.text)
        assertEquals(state, first.state.value, "the first call heard nothing of the second")
        assertTrue(ana.log.size <= 100 && "token-of" !in ana.log.toString())
    }

    @Test
    fun `an answer that is given while the connection is cut arrives`() = runBlocking {
        val (ana, bo) = pair()
        val call = ana.call(bo.user, CallType.VIDEO)
        val there = rings(bo)
        b.open = false
        b.cut()
        bo.link.soon { it.status != LinkStatus.READY }
        val answered = async { there.answer() }
        there.reaches(Phase.ANSWERING)
        b.open = true
        bo.resume()
        assertEquals(Outcome.OK, answered.await())
        call.reaches(Phase.ACTIVE)
        a.cut()
        b.cut()
        bo.link.soon { it.status != LinkStatus.READY }
        val over = async { there.hangUp() }
        there.reaches(Phase.ENDED)
        assertEquals(Outcome.OK, over.await())
        call.reaches(Phase.ENDED, EndReason.HUNG_UP)
    }

    @Test
    fun `a node is killed and another takes its place, and the call goes on`() = runBlocking {
        val node = stage.node("C")
        val proxy = Proxy(node.address)
        val ana = ready(stage.phone(a.url))
        val bo = ready(stage.phone(proxy.url))
        val call = ana.call(bo.user, CallType.VIDEO)
        val there = rings(bo)
        assertEquals(Outcome.OK, there.answer())
        call.reaches(Phase.ACTIVE)
        node.kill()
        bo.link.soon { it.status != LinkStatus.READY }
        proxy.target = stage.node("D").address
        bo.link.soon { it.status == LinkStatus.READY }
        assertEquals(Phase.ACTIVE, there.state.value.phase)
        assertEquals(Outcome.OK, there.hangUp())
        call.reaches(Phase.ENDED, EndReason.HUNG_UP)
        proxy.close()
    }

    @Test
    fun `an audio call becomes a video call if both want it, and goes back, also from Java`() = runBlocking {
        val (ana, bo) = pair()
        val call = ana.call(bo.user, CallType.AUDIO)
        val there = rings(bo)
        assertEquals(ErrorCode.INVALID_STATE, call.askVideo().error?.code, "nobody has answered yet")
        assertEquals(Outcome.OK, there.answer())
        call.reaches(Phase.ACTIVE)
        assertEquals(Outcome.OK, call.askVideo())
        assertEquals(Party.ME, call.state.value.videoAsked?.by)
        there.state.soon { it.videoAsked?.by == Party.PEER }
        assertEquals(Outcome.OK, there.answerVideo(false))
        call.state.soon { it.videoAsked == null && it.callType == "AUDIO" }
        val fromJava = FromJava(ana)
        assertEquals(Outcome.OK, fromJava.askVideo(call))
        there.state.soon { it.videoAsked?.by == Party.PEER }
        b.cut()
        bo.link.soon { it.status != LinkStatus.READY }
        assertEquals(Outcome.OK, there.answerVideo(true), "over a connection that was cut")
        for (each in listOf(call, there)) each.state.soon { it.callType == "VIDEO" && it.videoAsked == null }
        assertEquals("VIDEO", call.callType)
        assertEquals(Outcome.OK, fromJava.toAudio(call))
        there.state.soon { it.callType == "AUDIO" }
        emit(ana.user, "app:balance", """{"coins":12}""")
        eventually("the event of the app is there") { fromJava.events == listOf("app:balance {coins=12}") }
        call.hangUp()
        there.reaches(Phase.ENDED)
    }

    @Test
    fun `a phone that slept is rung by a push, once`() = runBlocking {
        val ana = ready(stage.phone(a.url))
        val bo = stage.phone(b.url)
        val call = ana.call(bo.user, CallType.VIDEO)
        assertEquals(Outcome.OK, call.dialled())
        assertTrue(call.state.value.byPush)
        val push = mapOf(
            "type" to "incoming_call", "callId" to call.id, "callerId" to ana.user, "callerName" to "Ana",
            "callType" to "VIDEO", "channelId" to "c", "timestamp" to System.currentTimeMillis().toString(),
        )
        assertEquals(PushOutcome.RINGS, bo.handlePush(push))
        assertEquals(PushOutcome.KNOWN, bo.handlePush(push))
        val there = rings(bo)
        ready(bo)
        assertEquals(Outcome.OK, there.answer())
        call.reaches(Phase.ACTIVE)
        assertEquals(listOf(there), bo.calls.value)
        call.hangUp()
        there.reaches(Phase.ENDED)
        assertEquals(PushOutcome.OVER, bo.handlePush(push))
    }

    @Test
    fun `after a restart in a call the same user is dialled anew, and the old call is over`() = runBlocking {
        val (first, bo) = pair()
        val before = first.call(bo.user, CallType.VIDEO)
        val there = rings(bo)
        assertEquals(Outcome.OK, there.answer())
        before.reaches(Phase.ACTIVE)
        first.close()
        val again = ready(stage.phone(b.url, first.userId))
        val found = withTimeout(PATIENCE_MS) { again.restored.first() }
        val next = again.call(bo.user, CallType.VIDEO, CallOptions(channelName = "new"))
        assertFalse(next.id == before.id)
        assertEquals(Outcome.OK, next.dialled())
        found.reaches(Phase.ENDED, EndReason.SUPERSEDED)
        there.reaches(Phase.ENDED, EndReason.HUNG_UP)
        val rang = rings(bo)
        assertEquals("new", rang.fields["channelName"])
        assertEquals(Outcome.OK, next.cancel())
        rang.reaches(Phase.ENDED)
    }

    @Test
    fun `who watches a user hears of him`() = runBlocking {
        val ana = stage.phone(a.url)
        val bo = stage.phone(b.url)
        ana.watch(bo.user)
        ready(ana)
        ana.presence.soon { it[bo.user] == false }
        ready(bo)
        ana.presence.soon { it[bo.user] == true }
    }

    @Test
    fun `nobody is logged in, and a provider that fails is asked again`() = runBlocking {
        val tokens = ArrayDeque(listOf("fail", "", "token"))
        val phone = Phone(
            PhoneOptions(a.url, "USR_K_login", "device", { tokens.removeFirst().also { check(it != "fail") } }),
        )
        phone.connect()
        phone.link.soon { it.status == LinkStatus.REFUSED }
        assertEquals(Refusal.LOGIN, phone.link.value.reason)
        assertEquals(ErrorCode.LOGIN_REQUIRED, phone.call("USR_K_other", CallType.AUDIO).dialled().error?.code)
        ready(phone)
        phone.close()
        assertFalse(phone.call("USR_K_other", CallType.AUDIO).dialled().isOk)
    }

    @Test
    fun `log in again is told from come back, with Laravel`() = runBlocking {
        Laravel().use { laravel ->
            val node = stage.node("L", mapOf("AUTH" to "laravel", "LARAVEL_API_URL" to laravel.url))
            val tokens = ArrayDeque(listOf("fail", "one that was revoked", "token-of-USR_K_revoked"))
            val phone = Phone(
                PhoneOptions(node.url, "USR_K_revoked", "device", { tokens.removeFirst().also { check(it != "fail") } }),
            )
            phone.connect()
            phone.link.soon { it.status == LinkStatus.REFUSED }
            assertEquals(Refusal.LOGIN, phone.link.value.reason)
            val steps = phone.log.map { it.text }
            assertTrue("the token provider failed: java.lang.IllegalStateException" in steps, "$steps")
            assertTrue("could not connect: Invalid token" in steps, "$steps")
            assertEquals(ErrorCode.LOGIN_REQUIRED, phone.call("USR_K_other", CallType.AUDIO).dialled().error?.code)
            phone.resume()
            assertEquals(LinkStatus.REFUSED, phone.onWorker { phone.link.value.status })
            assertEquals(1, tokens.size, "it does not come back by itself")

            ready(phone)
            assertEquals(200, stage.post(node, "/api/users/${phone.userId}/disconnect", """{"reason":"blocked"}"""))
            phone.link.soon { it.status == LinkStatus.REFUSED }
            assertEquals(Refusal.DISMISSED, phone.link.value.reason)
            assertTrue(tokens.isEmpty(), "it does not come back by itself")
            phone.close()
            node.kill()
        }
    }

    /** Polling only: its requests are what stays behind. */
    @Test
    fun `what still waits on networks that are gone holds up no connection`() = runBlocking {
        val phone = Phone(PhoneOptions(a.url, "USR_K_roams", "device", { "token" }, listOf("polling")))
        repeat(6) {
            ready(phone)
            a.hold()
            phone.close()
        }
        ready(phone)
        phone.close()
    }

    private fun pair(): Pair<Phone, Phone> = runBlocking { ready(stage.phone(a.url)) to ready(stage.phone(b.url)) }

    companion object {
        private const val PATIENCE_MS = 40_000L
        private lateinit var stage: Stage
        private lateinit var a: Proxy
        private lateinit var b: Proxy

        @JvmStatic
        @BeforeAll
        fun begin() {
            stage = Stage()
            a = Proxy(stage.node("A").address)
            b = Proxy(stage.node("B").address)
        }

        @JvmStatic
        @AfterAll
        fun end() {
            if (!::b.isInitialized) return
            stage.close()
            a.close()
            b.close()
        }

        private fun emit(user: String, event: String, data: String) =
            assertEquals(200, stage.post(stage.node("E"), "/api/users/$user/emit", """{"event":"$event","data":$data}"""))

        private val Phone.user get() = userId

        private suspend fun ready(phone: Phone): Phone {
            phone.connect()
            phone.link.soon { it.status == LinkStatus.READY }
            return phone
        }

        private suspend fun rings(phone: Phone): Call = withTimeout(PATIENCE_MS) { phone.incoming.first() }

        private suspend fun <T> kotlinx.coroutines.flow.StateFlow<T>.soon(wanted: (T) -> Boolean) {
            eventually("it is as wanted", { "it is $value" }) { wanted(value) }
        }

        private suspend fun Call.reaches(phase: Phase, reason: EndReason? = null) {
            state.soon { it.phase == phase && (reason == null || it.reason == reason) }
        }
    }
}
