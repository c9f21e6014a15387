package app.onlycare.signaling

import java.io.File
import org.json.JSONArray
import org.json.JSONObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory

private const val NOW = 1795368390000L

/** The state machine, by the vectors that the TypeScript library passes too. */
@Suppress("UNCHECKED_CAST")
class MachineTest {
    private fun text(name: String) = File(System.getProperty("vectors"), "$name.json").readText()

    private val table = fromJson(JSONObject(text("table"))) as Fields

    @TestFactory
    fun stories(): List<DynamicTest> = (fromJson(JSONArray(text("stories"))) as List<Fields>).map { story ->
        DynamicTest.dynamicTest(story["name"] as String) {
            var state = initial("USR_1")
            var now = NOW
            for ((at, one) in (story["steps"] as List<Fields>).withIndex()) {
                now += (one["after"] as Number? ?: 0).toLong()
                val before = state.copy(calls = state.calls.mapTo(mutableListOf()) { it.copy(pending = it.pending?.copy(), video = it.video?.copy()) })
                val random = (one["random"] as Number? ?: 0.5).toDouble()
                val (next, effects) = step(state, inputOf(one["in"] as Fields), now, random)
                assertEquals(before, state, "step $at changed what it was given")
                val where = "step $at, ${one["in"]}"
                assertEquals(plain(one["out"]), plain(effects.map(::wire)), where)
                one["link"]?.let { assertEquals(plain(it), plain(wire(next.link)), where) }
                one["offset"]?.let { assertEquals((it as Number).toLong(), clockOffset(next.clock), where) }
                for ((key, fields) in (one["calls"] as Fields?).orEmpty()) {
                    val seen = wire(next.calls.first { it.key == key })
                    for ((field, value) in fields as Fields) {
                        assertEquals(plain(value), plain(seen[field]), "$where: $key.$field")
                    }
                }
                state = next
            }
        }
    }

    @Test
    fun `the constants are those of the vectors`() {
        val seen = Constants::class.java.declaredFields.filter { it.name != "INSTANCE" }
            .associate { it.name to (it.get(null) as Number).toLong() }
        assertEquals(plain(fromJson(JSONObject(text("constants")))), seen)
    }

    @Test
    fun `each input does to a call in each phase what the table says`() {
        for (row in table["inputs"] as List<Fields>) {
            for ((phase, prelude) in table["phases"] as Fields) {
                val inputs = row["inputs"] ?: row[phase.substringBefore(' ')]
                val (course, _) = cell(prelude as List<Fields>, inputs as List<Fields>)
                assertEquals((row["cells"] as Fields)[phase], course.ifEmpty { "–" }, "${row["name"]}, $phase")
            }
        }
    }

    @Test
    fun `each answer of the server does to each word what the table says`() {
        for (row in table["acks"] as List<Fields>) {
            for ((word, of) in table["words"] as Fields) {
                val (command, inputs) = (of as Fields).let { it["command"] to it["inputs"] as List<Fields> }
                val ack = mapOf("type" to "ack", "command" to command, "key" to "17", "try" to 1, "ack" to row["ack"])
                val (course, result) = cell(inputs, listOf(ack))
                val words = listOf(course, result).filter { it != "" }.joinToString("; ").ifEmpty { "–" }
                assertEquals((row["cells"] as Fields)[word], words, "${row["name"]}, $word")
            }
        }
    }

    /** What became of call 17, in the words of the table, and the first result. */
    private fun cell(prelude: List<Fields>, inputs: List<Fields>): Pair<String, String> {
        val (before, _) = play(initial("USR_1"), prelude)
        val (after, effects) = play(before, inputs)
        val was = before.calls.first { it.key == "17" }
        val call = after.calls.first { it.key == "17" }
        val words = mutableListOf<String>()
        if (was.phase != call.phase || was.reason != call.reason) {
            words += listOfNotNull(call.phase.name.lowercase(), call.reason?.name?.lowercase()).joinToString(" ")
        }
        words += effects.filterIsInstance<Effect.Send>().filter { it.key == "17" }.map { it.event }
        words += effects.filterIsInstance<Effect.Timer>().filter { it.name in setOf("retry:17", "missing:17", "video:17") }
            .map { "${it.name.substringBefore(':')} in ${it.ms} ms" }
        val outcome = effects.filterIsInstance<Effect.Resolve>().firstOrNull()?.outcome
        val result = if (outcome == null) "" else outcome.error?.code?.name?.lowercase() ?: "ok"
        return words.joinToString(", ") to result
    }

    private fun play(from: State, inputs: List<Fields>): Pair<State, List<Effect>> {
        var state = from
        val all = mutableListOf<Effect>()
        for (input in inputs) {
            val (next, effects) = step(state, inputOf(input), NOW, 0.5)
            state = next
            all += effects
        }
        return state to all
    }

    @Test
    fun `what is kept is bounded`() {
        var state = play(initial("USR_1"), listOf(mapOf("type" to "start"))).first
        for (n in 1..500) {
            val ended = mapOf("type" to "event", "name" to "call:ended", "data" to mapOf("callId" to "CALL_$n"))
            state = play(state, listOf(ended)).first
        }
        assertEquals(Constants.CALLS_KEPT, state.calls.size)
        assertTrue(state.calls.any { it.key == "500" })
    }
}

private fun inputOf(json: Fields): Input {
    fun text(name: String) = json[name] as String
    fun number(name: String) = (json[name] as Number).toInt()

    @Suppress("UNCHECKED_CAST")
    return when (val type = text("type")) {
        "start" -> Input.Start
        "stop" -> Input.Stop
        "resume" -> Input.Resume
        "connected" -> Input.Connected
        "refused" -> Input.Refused(text("message"))
        "closed" -> Input.Closed(json["dismissed"] as Boolean, json["timedOut"] == true)
        "noToken" -> Input.NoToken
        "event" -> Input.Event(text("name"), json["data"])
        "ack" -> Input.Ack(text("command"), text("key"), number("try"), json["ack"])
        "unanswered" -> Input.Unanswered(text("command"), text("key"), number("try"))
        "call" -> Input.Dial(number("request"), text("callId"), text("peer"), text("callType"), json["fields"] as Fields, json["fault"] as String?)
        "answer" -> Input.Answer(number("request"), text("callId"))
        "decline" -> Input.Decline(number("request"), text("callId"), json["reason"] as String?)
        "cancel" -> Input.Cancel(number("request"), text("callId"), json["reason"] as String?)
        "hangUp" -> Input.HangUp(number("request"), text("callId"))
        "askVideo" -> Input.AskVideo(number("request"), text("callId"))
        "answerVideo" -> Input.AnswerVideo(number("request"), text("callId"), json["accepted"] as Boolean)
        "toAudio" -> Input.ToAudio(number("request"), text("callId"))
        "message" -> Input.Say(
            number("request"), text("callId"), json["data"], json["keep"] == true, json["messageId"] as String?,
            json["fault"] as String?,
        )
        "watch" -> Input.Watch(json["users"] as List<String>)
        "unwatch" -> Input.Unwatch(json["users"] as List<String>)
        "push" -> Input.Push(number("request"), json["data"])
        "timer" -> Input.Timer(text("name"))
        else -> error(type)
    }
}

private fun wire(effect: Effect): Fields = when (effect) {
    is Effect.Connect -> mapOf("type" to "connect", "openMs" to effect.openMs)
    Effect.Disconnect -> mapOf("type" to "disconnect")
    is Effect.Timer -> mapOf("type" to "timer", "name" to effect.name, "ms" to effect.ms)
    is Effect.Send -> mapOf(
        "type" to "send", "command" to effect.command, "key" to effect.key, "try" to effect.number,
        "event" to effect.event, "payload" to effect.payload,
    )
    is Effect.Resolve -> mapOf("type" to "resolve", "request" to effect.request, "result" to wire(effect.outcome))
    is Effect.Dialled -> mapOf("type" to "dialled", "request" to effect.request, "callId" to effect.callId)
    is Effect.Pushed ->
        mapOf("type" to "pushed", "request" to effect.request, "outcome" to effect.outcome.name.lowercase())
    is Effect.Incoming -> mapOf("type" to "incoming", "callId" to effect.callId)
    is Effect.Restored -> mapOf("type" to "restored", "callId" to effect.callId)
    is Effect.Message -> mapOf(
        "type" to "message", "callId" to effect.callId, "senderId" to effect.senderId, "data" to effect.data,
        "timestamp" to effect.timestamp,
    ) + listOfNotNull(effect.messageId?.let { "messageId" to it }, ("kept" to true).takeIf { effect.kept })
    is Effect.Presence -> mapOf("type" to "presence", "userId" to effect.userId, "online" to effect.online)
    is Effect.App -> mapOf("type" to "app", "name" to effect.name, "data" to effect.data)
}

private fun wire(outcome: Outcome): Fields {
    val error = outcome.error
        ?: return mapOf("ok" to true) + listOfNotNull(outcome.devices?.let { "devices" to it })
    val fields = mapOf(
        "code" to error.code.name.lowercase(), "message" to error.message, "retryAfterMs" to error.retryAfterMs,
        "ringingCallId" to error.ringingCallId, "reason" to error.reason?.name?.lowercase(),
    )
    return mapOf("ok" to false, "error" to fields.filterValues { it != null })
}

private fun wire(link: Link): Fields = mapOf(
    "status" to link.status.name.lowercase(), "tries" to link.tries, "reason" to link.reason?.name?.lowercase(),
).filterValues { it != null }

private fun wire(call: CallRecord): Fields = mapOf(
    "phase" to call.phase.name.lowercase(), "fields" to call.fields, "known" to call.known, "callType" to call.callType,
    "videoAsked" to call.videoAsked?.let { mapOf("by" to it.by.name.lowercase(), "until" to it.until) },
    "video" to (call.video?.command?.word ?: ""), "reason" to call.reason?.name?.lowercase(), "text" to call.text,
    "alerting" to call.alerting, "byPush" to call.byPush, "restored" to call.restored, "acceptedAt" to call.acceptedAt,
    "durationMs" to call.durationMs, "pending" to (call.pending?.command?.word ?: ""),
)

/** Whole numbers compare as such, whatever their type. */
private fun plain(value: Any?): Any? = when (value) {
    is Map<*, *> -> value.mapValues { plain(it.value) }
    is List<*> -> value.map(::plain)
    is Double -> if (value % 1.0 == 0.0) value.toLong() else value
    is Number -> value.toLong()
    else -> value
}
