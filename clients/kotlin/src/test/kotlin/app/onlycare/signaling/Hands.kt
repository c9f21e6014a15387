package app.onlycare.signaling

import java.io.PrintStream
import java.util.concurrent.ConcurrentHashMap
import kotlin.system.exitProcess
import org.json.JSONObject

/** Phones for tests/node/libraries.mjs, told what to do by lines of JSON on stdin, through what an app has of the library; what
 * becomes of it goes to stdout. `tests/node/libraries/hands.mjs` does the same with the TypeScript library. */
internal object Hands {
    private val out = PrintStream(System.out, true, "UTF-8")
    private val phones = ConcurrentHashMap<Int, Phone>()
    private val calls = ConcurrentHashMap<Pair<Int, String>, Call>()

    @JvmStatic
    fun main(arguments: Array<String>) {
        System.`in`.bufferedReader().forEachLine { line -> take(JSONObject(line)) }
        exitProcess(0)
    }

    private fun take(told: JSONObject) {
        val number = told.getInt("phone")
        when (val word = told.getString("do")) {
            "make" -> make(number, told)
            "connect" -> phones.getValue(number).connect()
            "close" -> phones.getValue(number).close()
            "push" -> {
                val outcome = phones.getValue(number).handlePush(fields(told, "data"))
                say(number, "answer", "asked" to told.getInt("asked"), "outcome" to outcome.name.lowercase())
            }
            "call" -> {
                val fields = fields(told, "fields")
                val options = CallOptions(
                    told.getString("callId"), fields["channelName"] as String, fields["agoraToken"] as String,
                    fields - setOf("channelName", "agoraToken"),
                )
                val call = phones.getValue(number).call(told.getString("to"), CallType.valueOf(told.getString("type")), options)
                watch(number, call)
                call.dialled(answer(number, told))
            }
            else -> say(word, calls.getValue(number to told.getString("callId")), told, answer(number, told))
        }
    }

    private fun say(word: String, call: Call, told: JSONObject, done: Listener<Outcome>) = when (word) {
        "answer" -> call.answer(done)
        "decline" -> call.decline(told.optString("reason").ifEmpty { null }, done)
        "cancel" -> call.cancel(null, done)
        "hangUp" -> call.hangUp(done)
        "askVideo" -> call.askVideo(done)
        "answerVideo" -> call.answerVideo(told.getBoolean("accepted"), done)
        "toAudio" -> call.toAudio(done)
        "send" -> call.send(fromJson(told.get("data")), told.optBoolean("keep"), told.getString("id"), done)
        else -> error(word)
    }

    private fun make(number: Int, told: JSONObject) {
        val userId = told.getString("userId")
        val transports = (fromJson(told.getJSONArray("transports")) as List<*>).map { it as String }
        val phone = Phone(PhoneOptions(told.getString("url"), userId, told.getString("deviceId"), { "token-of-$userId" }, transports))
        phones[number] = phone
        phone.onLink { say(number, "link", "status" to it.status.name.lowercase()) }
        phone.onIncoming { watch(number, it) }
        phone.onRestored { watch(number, it) }
    }

    private fun watch(number: Int, call: Call) {
        if (calls.putIfAbsent(number to call.id, call) != null) return
        call.onState { state ->
            say(
                number, "call", "callId" to call.id, "role" to call.role.name.lowercase(), "peer" to call.peer, "fields" to call.fields,
                "phase" to state.phase.name.lowercase(), "reason" to state.reason?.name?.lowercase(), "text" to state.text,
                "callType" to state.callType, "asks" to state.videoAsked?.by?.name?.lowercase(), "alerting" to state.alerting,
                "byPush" to state.byPush, "restored" to state.restored, "acceptedAt" to state.acceptedAt,
                "durationMs" to state.durationMs,
            )
        }
        call.onMessage { say(number, "message", "callId" to call.id, "id" to it.id, "from" to it.senderId, "data" to it.data, "kept" to it.kept) }
    }

    private fun answer(number: Int, told: JSONObject): Listener<Outcome> {
        val asked = told.getInt("asked")
        return Listener { outcome ->
            val error = outcome.error
            say(
                number, "answer", "asked" to asked, "outcome" to (error?.code?.name?.lowercase() ?: "ok"), "devices" to outcome.devices,
                "ringingCallId" to error?.ringingCallId, "reason" to error?.reason?.name?.lowercase(),
            )
        }
    }

    @Suppress("UNCHECKED_CAST")
    private fun fields(told: JSONObject, name: String) = fromJson(told.getJSONObject(name)) as Map<String, Any?>

    /** What is null is left out. */
    private fun say(number: Int, what: String, vararg more: Pair<String, Any?>) =
        out.println(toJson(mapOf("phone" to number, "is" to what) + more))
}
