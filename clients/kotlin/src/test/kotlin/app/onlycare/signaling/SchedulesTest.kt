package app.onlycare.signaling

import java.net.HttpURLConnection
import java.net.URI
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.ConcurrentSkipListMap
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicInteger
import kotlin.random.Random
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

/** Schedules that share the faults of the nodes; those of its connections each has for itself. */
private const val AT_ONCE = 20
private const val PROMISED_MS = 15_000L

/** What is on its way at that moment, because a deadline of the server passed, is waited for. */
private const val UNDER_WAY_MS = 1_000L

/** Pauses of those who were refused many times have grown until then. */
private const val IDLE_MS = 45_000L

private val DRAINS = mapOf("DRAIN_DELAY_SECS" to "1", "DRAIN_SECS" to "2")

/**
 * Faults at random on a cluster of two nodes, as clients/js/test/schedules.test.mjs: 15 s after the last fault no phone
 * contradicts what the server has written of its call. Later every phone is connected and every word of its user has an
 * answer. `SEEDS=200` plays as many schedules; `FIRST_SEED` says where they begin.
 */
class SchedulesTest {
    private class End(val phone: Phone, val proxy: Proxy)

    private class Played(val seed: Int, val ana: Phone, val bo: Phone, val call: Call, val rang: List<Call>, val open: AtomicInteger)

    private data class Here(val caller: String, val callee: String)

    private val seeds = System.getenv("SEEDS")?.toInt() ?: 20
    private val first = System.getenv("FIRST_SEED")?.toInt() ?: 1
    private val faults = ConcurrentSkipListMap<String, AtomicInteger>()
    private val nodes = CopyOnWriteArrayList<Node>()
    private val sides = List(2) { CopyOnWriteArrayList<Proxy>() }

    @Test
    fun `schedules of faults at random`() = runBlocking(Dispatchers.IO) {
        val took = ConcurrentLinkedQueue<Long>()
        val contradictions = ConcurrentLinkedQueue<String>()
        val idle = ConcurrentLinkedQueue<Long>()
        val stillBusy = ConcurrentLinkedQueue<String>()
        Stage().use { stage ->
            for (name in listOf("A", "B")) nodes += stage.node(name, DRAINS)
            for (wave in (first until first + seeds).chunked(AT_ONCE)) {
                val calm = AtomicBoolean()
                val breaking = launch { breakNodes(stage, Random(wave.first() + 100_003), calm) }
                val played = wave.map { async { play(stage, it) } }.awaitAll()
                calm.set(true)
                breaking.join()
                val last = System.nanoTime()
                fun sinceLast() = (System.nanoTime() - last) / 1_000_000
                played.map { async { if (settled(it, PROMISED_MS) == null) took += sinceLast() } }.awaitAll()
                delay(PROMISED_MS - sinceLast())
                for (found in played.map { async { settled(it, UNDER_WAY_MS)?.let { what -> what to it } } }.awaitAll()) {
                    val (what, one) = found ?: continue
                    contradictions += "$what\n${logs(one)}"
                }
                for (node in nodes) check(node.isAlive) { "a node ended by itself: ${node.url}" }
                played.filter(::busy).map { one ->
                    async {
                        while (busy(one) && sinceLast() < IDLE_MS) delay(50)
                        idle += sinceLast()
                        if (busy(one)) stillBusy += "seed ${one.seed}: ${one.open} words are open\n${logs(one)}"
                    }
                }.awaitAll()
                for (one in played) listOf(one.ana, one.bo).forEach(Phone::close)
                sides.flatten().forEach(Proxy::close)
                sides.forEach { it.clear() }
            }
        }
        val sorted = took.sorted()
        val promised = PROMISED_MS / 1000
        println(
            "schedules: $seeds seeds from $first on, ${faults.values.sumOf { it.get() }} faults, ${contradictions.size} contradictions " +
                "$promised s after the last fault; they agree after ${sorted.getOrNull(sorted.size / 2)} ms (median), ${sorted.lastOrNull()} ms at most",
        )
        println("schedules: " + faults.map { (fault, count) -> "$count: $fault" }.joinToString("; "))
        println("schedules: ${idle.size} of them needed longer to be connected or to have every answer${idle.maxOrNull()?.let { ", $it ms at most" } ?: ""}")
        assertEquals("", contradictions.joinToString("\n\n"))
        assertEquals("", stillBusy.joinToString("\n\n"))
    }

    private fun happens(fault: String) {
        faults.computeIfAbsent(fault) { AtomicInteger() }.incrementAndGet()
    }

    /** Faults of nodes and of Redis until told to stop; then the cluster is whole. */
    private suspend fun breakNodes(stage: Stage, random: Random, calm: AtomicBoolean) {
        while (!calm.get()) {
            delay(random.nextLong(200, 1000))
            if (random.nextInt(5) == 0) {
                happens("Redis restarts empty")
                stage.restartRedis(random.nextLong(1500))
                continue
            }
            val at = random.nextInt(2)
            val old = nodes[at]
            val drains = random.nextInt(10) < 4
            happens(if (drains) "a node is drained" else "a node is killed")
            if (drains) old.drain() else old.kill()
            if (!drains && random.nextBoolean()) delay(random.nextLong(3000))
            nodes[at] = stage.node("${if (at == 0) "A" else "B"}${++named}", DRAINS)
            for (proxy in sides[at]) proxy.target = nodes[at].address
            old.ended()
        }
    }

    private var named = 0

    /** Faults of the two connections of one schedule until told to stop; then they are whole. */
    private suspend fun breakLinks(random: Random, ends: List<End>, calm: AtomicBoolean) {
        while (!calm.get()) {
            delay(random.nextLong(200, 1700))
            val end = ends[random.nextInt(2)]
            when (random.nextInt(4)) {
                0 -> {
                    happens("a connection is cut")
                    end.proxy.cut()
                }
                1 -> {
                    happens("there is no way to the server for a while")
                    end.proxy.open = false
                    end.proxy.cut()
                    delay(random.nextLong(2000))
                    end.proxy.open = true
                }
                2 -> {
                    happens("nothing passes for a while")
                    val flow = end.proxy.hold()
                    delay(random.nextLong(2000))
                    flow()
                }
                else -> {
                    // As with another network: what there was is dead without a word, and the app says so.
                    happens("the network changes")
                    end.proxy.hold()
                    end.phone.resume()
                }
            }
        }
    }

    /** One call, and what its users say of it at random moments among the faults. */
    private suspend fun CoroutineScope.play(stage: Stage, seed: Int): Played {
        val random = Random(seed)
        val ends = nodes.mapIndexed { at, node ->
            val proxy = Proxy(node.address).also { sides[at] += it }
            End(stage.phone(proxy.url), proxy)
        }
        val (ana, bo) = ends.map { it.phone }
        val rang = CopyOnWriteArrayList<Call>()
        bo.onIncoming { rang += it }
        val calm = AtomicBoolean()
        val breaking = launch { breakLinks(Random(seed + 200_003), ends, calm) }
        ana.connect()
        bo.connect()
        delay(random.nextLong(800))
        val call = ana.call(bo.userId, CallType.VIDEO, CallOptions(callId = "CALL_${ana.userId}7$seed"))
        val open = AtomicInteger()
        fun said(word: (Listener<Outcome>) -> Unit) {
            open.incrementAndGet()
            word(Listener { open.decrementAndGet() })
        }
        said(call::dialled)
        repeat(3) { n ->
            delay(random.nextLong(2500))
            val there = bo.calls.value.find { it.id == call.id }
            when (random.nextInt(5)) {
                0 -> said { call.cancel(null, it) }
                1 -> if (there != null) said { there.decline(null, it) }
                2, 3 -> if (there != null) said { there.answer(it) }
                else -> if (n == 2) said { call.hangUp(it) }
            }
        }
        calm.set(true)
        breaking.join()
        return Played(seed, ana, bo, call, rang, open)
    }

    private fun here(one: Played) = Here(
        phaseOf(one.call),
        one.rang.find { it.id == one.call.id }?.let(::phaseOf) ?: NEVER,
    )

    /** Whether a phone has still to come back or to say something. */
    private fun busy(one: Played) = one.open.get() > 0 || listOf(one.ana, one.bo).any { it.link.value.status != LinkStatus.READY }

    private fun logs(one: Played) =
        "the caller: ${one.ana.link.value} ${one.ana.log.joinToString("\n")}\nthe callee: ${one.bo.link.value} ${one.bo.log.joinToString("\n")}"

    private fun phaseOf(call: Call) = call.state.value.phase.name.lowercase()

    /** What contradicts what, or nothing. What the phones say is asked before and after what the server says, and counts if
     * it is the same. */
    private fun contradiction(one: Played): String? {
        val before = here(one)
        val server = runCatching { stateOf(nodes[one.seed % 2], one.call.id) }.getOrElse { "not to be had, ${it.message}" }
        val now = here(one)
        val agrees = when (server) {
            "trying", "ringing" -> now.caller == "ringing" && now.callee == "ringing"
            else -> now.caller == server && (now.callee == server || (server == "ended" && now.callee == NEVER))
        }
        if (agrees && now == before) return null
        return "seed ${one.seed}: the server has $server, the caller ${now.caller}, the callee ${now.callee}"
    }

    /** Waits until the phones and the server agree, for [ms] at most; then says what contradicts. */
    private suspend fun settled(one: Played, ms: Long): String? {
        val since = System.nanoTime()
        while (true) {
            val found = contradiction(one)
            if (found == null || (System.nanoTime() - since) / 1_000_000 > ms) return found
            delay(100)
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

    private companion object {
        const val NEVER = "never heard of it"
    }
}
