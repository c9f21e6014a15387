package app.onlycare.signaling

import java.net.HttpURLConnection
import java.net.URI
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.random.Random
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

private const val AT_ONCE = 20
private const val PROMISED_MS = 15_000L

/** As clients/js/test/killed.test.mjs: schedules at random while nodes are killed. `SEEDS=200` plays more of them. */
class KilledTest {
    private class Played(val seed: Int, val ana: Phone, val bo: Phone, val call: Call)

    @Test
    fun `schedules at random while nodes are killed`() = runBlocking(Dispatchers.Default) {
        val seeds = System.getenv("SEEDS")?.toInt() ?: 12
        val took = ConcurrentLinkedQueue<Long>()
        val contradicted = ConcurrentLinkedQueue<String>()
        var killed = 0
        Stage().use { stage ->
            val witness = stage.node("W")
            val nodes = arrayOf(stage.node("A"), stage.node("B"))
            val proxies = nodes.map { Proxy(it.address) }
            for (wave in (1..seeds).chunked(AT_ONCE)) {
                val calm = AtomicBoolean()
                val random = Random(wave.first() + 100_003)
                val killing = launch {
                    while (!calm.get()) {
                        delay(random.nextLong(700, 2200))
                        val at = random.nextInt(2)
                        nodes[at].kill()
                        if (random.nextBoolean()) delay(random.nextLong(3000))
                        nodes[at] = stage.node("K${++killed}")
                        proxies[at].target = nodes[at].address
                    }
                }
                val played = wave.map { async { play(it, stage, proxies) } }.awaitAll()
                calm.set(true)
                killing.join()
                val since = System.nanoTime()
                fun waited() = (System.nanoTime() - since) / 1_000_000
                played.map { one ->
                    async {
                        while (!agree(witness, one)) {
                            if (waited() > PROMISED_MS) {
                                contradicted += "seed ${one.seed}: the caller has ${one.call.state.value} ${one.ana.log}\nthe callee: ${one.bo.log}"
                                return@async
                            }
                            delay(50)
                        }
                        took += waited()
                    }
                }.awaitAll()
                for (one in played) listOf(one.ana, one.bo).forEach(Phone::close)
            }
            proxies.forEach(Proxy::close)
        }
        val sorted = took.sorted()
        println("$seeds schedules, $killed nodes killed: they agree after ${sorted[sorted.size / 2]} ms (median), ${sorted.last()} ms at most")
        assertEquals(emptyList<String>(), contradicted.toList(), "after $PROMISED_MS ms")
    }

    private suspend fun play(seed: Int, stage: Stage, proxies: List<Proxy>): Played {
        val random = Random(seed)
        val (ana, bo) = proxies.map { stage.phone(it.url) }
        ana.connect()
        bo.connect()
        delay(random.nextLong(800))
        val call = ana.call(bo.userId, CallType.VIDEO, CallOptions(callId = "CALL_${ana.userId}7$seed"))
        repeat(3) { n ->
            delay(random.nextLong(2500))
            val there = bo.calls.value.find { it.id == call.id }
            when (random.nextInt(5)) {
                0 -> call.cancel(null) {}
                1 -> there?.decline(null) {}
                2, 3 -> there?.answer {}
                else -> if (n == 2) call.hangUp {}
            }
        }
        return Played(seed, ana, bo, call)
    }

    private fun agree(witness: Node, one: Played): Boolean {
        val state = stateOf(witness, one.call.id)
        val here = one.call.state.value.phase
        val there = one.bo.calls.value.find { it.id == one.call.id }?.state?.value?.phase ?: Phase.ENDED
        return when (state) {
            "active" -> here == Phase.ACTIVE && there == Phase.ACTIVE
            "ended" -> here == Phase.ENDED && there == Phase.ENDED
            else -> here == Phase.RINGING && (there == Phase.RINGING || there == Phase.ENDED)
        }
    }

    /** The server's word; a call that it does not know is over. */
    private fun stateOf(node: Node, id: String): String {
        val connection = URI("${node.url}/api/calls/$id").toURL().openConnection() as HttpURLConnection
        connection.setRequestProperty("X-Internal-Secret", "secret-of-the-kotlin-tests")
        if (connection.responseCode == 404) return "ended"
        val body = connection.inputStream.bufferedReader().readText()
        return Regex("\"state\":\"(\\w+)\"").find(body)!!.groupValues[1]
    }
}
