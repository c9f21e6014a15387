package app.onlycare.signaling

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

// The state machine of a phone: docs/client.md. machine.ts of clients/js is this file in another language;
// clients/vectors holds both to the same behaviour. Nothing here knows a socket, a clock or a random number: they come
// with the input.

/** A JSON object, as it goes over the wire. */
internal typealias Fields = Map<String, Any?>

internal object Constants {
    const val ACK_MS = 5_000L
    const val CONNECT_MS = 30_000L
    const val OPEN_MS = 8_000L
    const val DIAL_MS = 30_000L
    const val PROBE_MS = 5_000L
    const val RING_MS = 30_000L
    const val RING_GRACE_MS = 3_000L
    const val RING_MAX_MS = 185_000L
    const val VIDEO_MS = 30_000L
    const val MISSING_MS = 3_000L
    const val RESTORED_MS = 60_000L
    const val PUSH_AGE_MS = 20_000L
    const val RETRY_MS = 1_000L
    const val RETRY_MAX_MS = 8_000L
    const val RESUME_MS = 2_000L
    const val RECONNECT_MS = 1_000L
    const val RECONNECT_MAX_MS = 10_000L
    const val CLOCK_STEP_MS = 2_000L
    const val CLOCK_SAMPLES = 8
    const val CALLS_KEPT = 64
    const val WATCHED = 500
    const val MESSAGES = 64
}

internal enum class Command(val word: String, val event: String) {
    CALL("call", "call:initiate"),
    ANSWER("answer", "call:accept"),
    DECLINE("decline", "call:reject"),
    CANCEL("cancel", "call:cancel"),
    HANG_UP("hangUp", "call:end"),

    // About video: one at a time, beside the others, so that whatever ends the call need not wait for it.
    ASK_VIDEO("askVideo", "call:upgrade"),
    ANSWER_VIDEO("answerVideo", "call:upgrade:response"),
    TO_AUDIO("toAudio", "call:downgrade"),
}

/** A word that the server has not answered yet. */
internal data class Pending(
    val command: Command,
    val payload: Fields,
    var requests: List<Int>,
    var tries: Int = 0,
)

/**
 * @property callType the type of now
 * @property dialledType the type as it was dialled: a second tap is told by it
 * @property video the word about video that the server has not answered yet
 * @property known the server has spoken of it
 * @property heard the order of the last message heard
 * @property missing 1: a session should have named it and did not; 2: the server could answer about it since, and the next is
 *   to name it
 */
internal data class CallRecord(
    val id: String,
    val key: String,
    val role: Role,
    val peer: String,
    var callType: String,
    var phase: Phase,
    var fields: Fields,
    var alerting: Boolean = false,
    var byPush: Boolean = false,
    var restored: Boolean = false,
    var known: Boolean = false,
    var missing: Int = 0,
    var acceptedAt: Long? = null,
    var reason: EndReason? = null,
    var text: String? = null,
    var durationMs: Long? = null,
    var pending: Pending? = null,
    var heard: Long = 0,
    val dialledType: String = callType,
    var videoAsked: VideoAsked? = null,
    var video: Pending? = null,
)

/**
 * A message that the server has not answered yet.
 *
 * @property keep it is said until the server has answered; others once
 */
internal data class Said(
    val request: Int,
    val key: String,
    val payload: Fields,
    val keep: Boolean,
    var tries: Int = 0,
)

/**
 * @property watchTries subscriptions of this session that came to nothing, one after the other
 * @property watchAgain all are to be subscribed to again, whatever other subscriptions bring meanwhile
 * @property clock the server's clock minus this device's, one of each session
 * @property since when the last attempt to connect began
 * @property resumed `resume()` came when it had just begun
 * @property openMs how long an attempt may take until its transport is open
 * @property messages in the order of the app: the first is under way, the others wait for it
 */
internal data class State(
    var link: Link,
    val userId: String,
    val calls: MutableList<CallRecord>,
    var watched: List<String>,
    var online: Map<String, Boolean>,
    var clock: List<Long>,
    var messages: List<Said>,
    var since: Long = 0,
    var resumed: Boolean = false,
    var openMs: Long = Constants.OPEN_MS,
    var watchTries: Int = 0,
    var watchAgain: Boolean = false,
)

internal sealed interface Input {
    data object Start : Input
    data object Stop : Input
    data object Resume : Input
    data object Connected : Input
    data class Refused(val message: String) : Input

    /** @property timedOut the transport was not open in time */
    data class Closed(val dismissed: Boolean, val timedOut: Boolean = false) : Input
    data object NoToken : Input
    data class Event(val name: String, val data: Any?) : Input
    data class Ack(val command: String, val key: String, val number: Int, val ack: Any?) : Input
    data class Unanswered(val command: String, val key: String, val number: Int) : Input

    /** @property fault why the fields can't be sent */
    data class Dial(
        val request: Int,
        val callId: String,
        val peer: String,
        val callType: String,
        val fields: Fields,
        val fault: String? = null,
    ) : Input
    data class Answer(val request: Int, val callId: String) : Input
    data class Decline(val request: Int, val callId: String, val reason: String?) : Input
    data class Cancel(val request: Int, val callId: String, val reason: String?) : Input
    data class HangUp(val request: Int, val callId: String) : Input
    data class AskVideo(val request: Int, val callId: String) : Input
    data class AnswerVideo(val request: Int, val callId: String, val accepted: Boolean) : Input
    data class ToAudio(val request: Int, val callId: String) : Input
    data class Say(
        val request: Int,
        val callId: String,
        val data: Any?,
        val keep: Boolean = false,
        val messageId: String? = null,
        val fault: String? = null,
    ) : Input
    data class Watch(val users: List<String>) : Input
    data class Unwatch(val users: List<String>) : Input
    data class Push(val request: Int, val data: Any?) : Input
    data class Timer(val name: String) : Input
}

internal sealed interface Effect {
    data class Connect(val openMs: Long) : Effect
    data object Disconnect : Effect
    data class Timer(val name: String, val ms: Long) : Effect
    data class Send(val command: String, val key: String, val number: Int, val event: String, val payload: Fields) : Effect
    data class Resolve(val request: Int, val outcome: Outcome) : Effect
    data class Dialled(val request: Int, val callId: String) : Effect
    data class Pushed(val request: Int, val outcome: PushOutcome) : Effect
    data class Incoming(val callId: String) : Effect
    data class Restored(val callId: String) : Effect
    data class Message(
        val callId: String,
        val senderId: String,
        val data: Any?,
        val timestamp: Long,
        val messageId: String? = null,
        val kept: Boolean = false,
    ) : Effect
    data class Presence(val userId: String, val online: Boolean) : Effect
    data class App(val name: String, val data: Fields) : Effect
}

internal fun initial(userId: String): State =
    State(Link(LinkStatus.IDLE), userId, mutableListOf(), emptyList(), emptyMap(), emptyList(), emptyList())

/**
 * What [input] makes of [before], and what is to be done about it. Changes nothing else.
 *
 * @param now this device's clock in milliseconds since the epoch
 * @param random in 0 until 1
 */
internal fun step(before: State, input: Input, now: Long, random: Double): Pair<State, List<Effect>> {
    val calls = before.calls.mapTo(mutableListOf()) { it.copy(pending = it.pending?.copy(), video = it.video?.copy()) }
    val machine = Machine(before.copy(calls = calls, messages = before.messages.map { it.copy() }), now, random)
    machine.take(input)
    return machine.state to machine.effects
}

/** `CALL_17`, `CALL_CALL_17` and `17` are one call. */
internal fun keyOf(callId: String): String {
    var key = callId
    while (key.startsWith("CALL_") && key.length > 5) key = key.substring(5)
    return key
}

/** The server's clock minus this device's, in milliseconds: of the samples, the one that was under way for the shortest
 * time. 0 before the first session. */
internal fun clockOffset(clock: List<Long>): Long = clock.maxOrNull() ?: 0

private val SERVER_REASONS = EndReason.entries.filter { it <= EndReason.MAX_DURATION }.associateBy { it.name.lowercase() }
private val SERVER_CODES = ErrorCode.entries.filter { it <= ErrorCode.INTERNAL }.associateBy { it.name.lowercase() }
private val CANCEL_REASONS = mapOf(
    "Timeout" to EndReason.NO_ANSWER,
    "User disconnected" to EndReason.CALLER_GONE,
    "Answered elsewhere" to EndReason.ANSWERED_ELSEWHERE,
    "Declined elsewhere" to EndReason.DECLINED_ELSEWHERE,
)
private val END_REASONS =
    mapOf("User disconnected" to EndReason.LOST, "Maximum duration reached" to EndReason.MAX_DURATION)

/** What the server reads as the id of a user. */
private val ID = Regex("[A-Za-z0-9_.:-]{1,64}")
private val FINAL = setOf("Invalid token", "Authentication required", "Authentication failed")

private class Machine(val state: State, private val now: Long, private val random: Double) {
    val effects = mutableListOf<Effect>()

    fun take(input: Input) {
        when (input) {
            Input.Start -> start()
            Input.Stop -> stop()
            Input.Resume -> resume()
            Input.Connected -> Unit
            is Input.Refused -> refused(input.message)
            is Input.Closed -> closed(input.dismissed, input.timedOut)
            Input.NoToken -> link(LinkStatus.REFUSED, Refusal.LOGIN)
            is Input.Event -> event(input.name, fieldsOf(input.data))
            is Input.Ack -> ack(input.command, input.key, input.number, fieldsOf(input.ack))
            is Input.Unanswered -> unanswered(input.command, input.key, input.number)
            is Input.Dial -> call(input)
            is Input.Answer -> answer(input.request, input.callId)
            is Input.Decline -> decline(input.request, input.callId, input.reason)
            is Input.Cancel -> cancel(input.request, input.callId, input.reason)
            is Input.HangUp -> leave(input.request, find(keyOf(input.callId)), null)
            is Input.AskVideo -> askVideo(input.request, input.callId)
            is Input.AnswerVideo -> answerVideo(input.request, input.callId, input.accepted)
            is Input.ToAudio -> toAudio(input.request, input.callId)
            is Input.Say -> message(input)
            is Input.Watch -> watch(input.users)
            is Input.Unwatch -> unwatch(input.users)
            is Input.Push -> push(input.request, fieldsOf(input.data))
            is Input.Timer -> timer(input.name)
        }
    }

    // ---- the connection

    private fun start() {
        when (state.link.status) {
            LinkStatus.IDLE, LinkStatus.REFUSED -> {
                state.link = Link(LinkStatus.IDLE)
                connect()
            }
            LinkStatus.WAITING -> connect()
            LinkStatus.CONNECTING, LinkStatus.READY -> Unit
        }
    }

    private fun stop() {
        link(LinkStatus.IDLE)
        effects += Effect.Disconnect
        val messages = state.messages
        state.messages = emptyList()
        for (call in state.calls) {
            val pending = call.pending
            settle(call, Outcome.failed(ErrorCode.CLOSED, "the phone was closed"))
            settleVideo(call, Outcome.failed(ErrorCode.CLOSED, "the phone was closed"))
            if (call.phase != Phase.ENDED) end(call, EndReason.LOST)
            // What ended it is said all the same, should there be a next session: the other side would talk to nobody.
            else call.pending = pending?.copy(requests = emptyList())
        }
        for (message in messages) {
            resolve(message.request, Outcome.failed(ErrorCode.CLOSED, "the phone was closed"))
        }
    }

    /** The network changed or the app is back: no waiting, and no trust in a socket that was left alone. */
    private fun resume() {
        when (state.link.status) {
            LinkStatus.WAITING -> {
                state.link = state.link.copy(tries = 0)
                connect()
            }
            LinkStatus.CONNECTING -> {
                // It may be tried over a network that is gone.
                if (now - state.since > Constants.RESUME_MS) return connectAnew()
                if (!state.resumed) effects += Effect.Timer("resume", Constants.PROBE_MS)
                state.resumed = true
            }
            LinkStatus.READY ->
                effects += Effect.Send("probe", "", 0, "presence:subscribe", mapOf("userIds" to emptyList<String>()))
            LinkStatus.IDLE, LinkStatus.REFUSED -> Unit
        }
    }

    private fun connectAnew() {
        effects += Effect.Disconnect
        state.link = state.link.copy(tries = 0)
        connect()
    }

    private fun connect() {
        link(LinkStatus.CONNECTING)
        state.since = now
        state.resumed = false
        effects += Effect.Connect(state.openMs)
        effects += Effect.Timer("connect", Constants.CONNECT_MS)
    }

    private fun link(status: LinkStatus, reason: Refusal? = null) {
        state.link = Link(status, state.link.tries, reason)
    }

    private fun refused(message: String) {
        if (message !in FINAL) return closed(false)
        link(LinkStatus.REFUSED, Refusal.LOGIN)
        lostMessages()
    }

    private fun closed(dismissed: Boolean, timedOut: Boolean = false) {
        val (status, tries) = state.link
        if (status == LinkStatus.IDLE || status == LinkStatus.REFUSED || status == LinkStatus.WAITING) return
        // It may be the round trips that are long, and not the server that is away.
        if (timedOut) state.openMs = min(Constants.CONNECT_MS, 2 * state.openMs)
        lostMessages()
        if (dismissed) return link(LinkStatus.REFUSED, Refusal.DISMISSED)
        val most = min(Constants.RECONNECT_MAX_MS, Constants.RECONNECT_MS shl min(tries, 10))
        state.link = Link(LinkStatus.WAITING, tries + 1)
        effects += Effect.Timer("reconnect", Math.round(most / 2.0 + random * most / 2.0))
    }

    /** Ends a connection that does not answer. */
    private fun drop() {
        effects += Effect.Disconnect
        closed(false)
    }

    private fun timer(name: String) {
        val status = state.link.status
        if (name == "reconnect" && status == LinkStatus.WAITING) return connect()
        if (name == "connect" && status == LinkStatus.CONNECTING) return drop()
        if (name == "resume" && status == LinkStatus.CONNECTING && state.resumed) return connectAnew()
        if (name.startsWith("message:")) {
            // Only the one that it was set for: by now it may be answered, and the next is under way.
            val message = state.messages.firstOrNull() ?: return
            if (message.keep && name == "message:${message.request}") sendMessage()
            return
        }
        if (name == "watch") return watchAll()
        val colon = name.indexOf(':')
        val call = (if (colon < 0) null else find(name.substring(colon + 1))) ?: return
        when (name.substring(0, colon)) {
            "retry" -> send(call, call.pending)
            "video" -> send(call, call.video)
            "asked" -> if (call.video?.command != Command.ASK_VIDEO) call.videoAsked = null
            "dial" -> if (call.phase == Phase.CALLING) unreachable(call)
            "ring" -> rungOut(call)
            "restored" -> askOfRestored(call)
            "missing" ->
                if (call.missing > 0 && call.phase != Phase.ENDED && status == LinkStatus.READY) confirm(call)
        }
    }

    /** The server's own word did not come: what it may believe otherwise it is told. */
    private fun rungOut(call: CallRecord) {
        if (call.phase != Phase.RINGING && call.phase != Phase.ANSWERING) return
        if (call.role == Role.CALLER) return endWith(call, EndReason.NO_ANSWER, Command.CANCEL)
        if (call.phase == Phase.ANSWERING && !unsaid(call)) return endWith(call, EndReason.NO_ANSWER, leaving(call))
        end(call, EndReason.NO_ANSWER)
    }

    // ---- words of the app

    private fun call(dial: Input.Dial) {
        val (request, callId, peer, callType, fields) = dial
        val twin = find(keyOf(callId)) ?: state.calls.find {
            it.role == Role.CALLER && !it.restored && it.phase != Phase.ENDED && it.peer == peer &&
                it.dialledType == callType
        }
        if (twin != null) {
            effects += Effect.Dialled(request, twin.id)
            val pending = twin.pending
            if (pending?.command == Command.CALL) {
                pending.requests += request
            } else {
                resolve(request, if (twin.role == Role.CALLER && twin.phase != Phase.ENDED) Outcome.OK else tooLate(twin))
            }
            return
        }
        val call = CallRecord(callId, keyOf(callId), Role.CALLER, peer, callType, Phase.CALLING, fields)
        effects += Effect.Dialled(request, callId)
        if (dial.fault != null) {
            keep(call)
            resolve(request, Outcome.failed(ErrorCode.INVALID_PAYLOAD, dial.fault))
            return end(call, EndReason.FAILED)
        }
        leaveOthers(call)
        keep(call)
        if (state.link.status == LinkStatus.IDLE || state.link.status == LinkStatus.REFUSED) {
            val idle = state.link.status == LinkStatus.IDLE
            resolve(
                request,
                if (idle) Outcome.failed(ErrorCode.UNREACHABLE, "connect() was not called")
                else Outcome.failed(ErrorCode.LOGIN_REQUIRED, "log in again"),
            )
            return end(call, EndReason.UNREACHABLE)
        }
        effects += Effect.Timer("dial:${call.key}", Constants.DIAL_MS)
        val payload = fields + mapOf("receiverId" to peer, "callId" to callId, "callType" to callType)
        say(call, Command.CALL, payload, request)
    }

    private fun answer(request: Int, callId: String) {
        val call = find(keyOf(callId)) ?: return resolve(request, NO_SUCH_CALL)
        if (call.role == Role.CALLER) return resolve(request, notYours("a caller has nothing to answer"))
        if (call.phase == Phase.ENDED) return resolve(request, tooLate(call))
        val pending = call.pending
        if (pending?.command == Command.ANSWER) {
            pending.requests += request
            return
        }
        if (call.phase == Phase.ACTIVE && !call.restored) return resolve(request, Outcome.OK)
        leaveOthers(call)
        if (call.phase == Phase.RINGING) call.phase = Phase.ANSWERING
        say(call, Command.ANSWER, mapOf("callId" to call.id), request)
    }

    private fun decline(request: Int, callId: String, reason: String?) {
        val call = find(keyOf(callId))
        if (call?.role == Role.CALLER) return resolve(request, notYours("a caller cancels or hangs up"))
        leave(request, call, reason)
    }

    private fun cancel(request: Int, callId: String, reason: String?) {
        val call = find(keyOf(callId))
        if (call?.role == Role.CALLEE) return resolve(request, notYours("a callee declines or hangs up"))
        leave(request, call, reason)
    }

    /** This user is done with the call: its screen closes now, the server hears of it until it answers. */
    private fun leave(request: Int, call: CallRecord?, text: String?) {
        if (call == null) return resolve(request, NO_SUCH_CALL)
        if (call.phase == Phase.ENDED) {
            val pending = call.pending ?: return resolve(request, Outcome.OK)
            if (state.link.status != LinkStatus.IDLE) pending.requests += request
            else resolve(request, Outcome.failed(ErrorCode.CLOSED, "the phone was closed"))
            return
        }
        if (!isRinging(call)) return endWith(call, EndReason.HUNG_UP, leaving(call), null, request)
        if (call.role == Role.CALLEE) return endWith(call, EndReason.REJECTED, Command.DECLINE, text, request)
        if (unsaid(call)) {
            end(call, EndReason.CANCELLED)
            return resolve(request, Outcome.OK)
        }
        endWith(call, EndReason.CANCELLED, Command.CANCEL, text, request)
    }

    private fun endWith(call: CallRecord, reason: EndReason, command: Command, text: String? = null, request: Int? = null) {
        end(call, reason)
        val payload = mapOf("callId" to call.id)
        say(call, command, if (text.isNullOrEmpty()) payload else payload + ("reason" to text), request)
    }

    /** A phone is in one call: whichever is dialled or answered ends the others. But not another device's, and not the
     * ring of the very user who is dialled: the server answers busy and names it. */
    private fun leaveOthers(call: CallRecord) {
        for (other in state.calls) {
            if (other === call || other.phase == Phase.ENDED || (other.restored && other.phase == Phase.ACTIVE)) continue
            val glare = call.phase == Phase.CALLING && other.role == Role.CALLEE && other.peer == call.peer
            when {
                glare && isRinging(other) -> Unit
                other.role == Role.CALLER && unsaid(other) -> end(other, EndReason.SUPERSEDED)
                !isRinging(other) -> endWith(other, EndReason.SUPERSEDED, leaving(other))
                other.role == Role.CALLEE -> endWith(other, EndReason.SUPERSEDED, Command.DECLINE)
                else -> endWith(other, EndReason.SUPERSEDED, Command.CANCEL)
            }
        }
    }

    /** Whether the server can take it for ringing at most. */
    private fun isRinging(call: CallRecord): Boolean =
        call.phase == Phase.CALLING || call.phase == Phase.RINGING || (call.phase == Phase.ANSWERING && unsaid(call))

    /** The word that leaves a call that may be accepted. Before the server has confirmed the answer another device of this
     * user may be the one that talks: `call:reject` leaves that one alone, `call:end` ends its call. */
    private fun leaving(call: CallRecord): Command =
        if (call.phase == Phase.ANSWERING) Command.DECLINE else Command.HANG_UP

    /** Its word never left this phone. */
    private fun unsaid(call: CallRecord): Boolean = call.pending?.tries == 0

    private fun unreachable(call: CallRecord) {
        val sent = !unsaid(call)
        settle(call, Outcome.failed(ErrorCode.UNREACHABLE, "no answer of the server in time"))
        end(call, EndReason.UNREACHABLE)
        if (sent) say(call, Command.CANCEL, mapOf("callId" to call.id))
    }

    /** The call that a word about video is of, if it can be said now; else the word is answered. Of two at once the same
     * one is one, and another has to wait: what the server did of the first decides what the second means. */
    private fun inVideo(request: Int, callId: String, command: Command, accepted: Boolean? = null): CallRecord? {
        val call = find(keyOf(callId))
        val video = call?.video
        when {
            call == null -> resolve(request, NO_SUCH_CALL)
            call.phase == Phase.ENDED -> resolve(request, tooLate(call))
            call.phase != Phase.ACTIVE ->
                resolve(request, Outcome.failed(ErrorCode.INVALID_STATE, "the call is not accepted yet"))
            video == null -> return call
            video.command == command && video.payload["accepted"] == accepted -> video.requests += request
            else -> resolve(request, Outcome.failed(ErrorCode.INVALID_STATE, "another word about video is under way"))
        }
        return null
    }

    private fun askVideo(request: Int, callId: String) {
        val call = inVideo(request, callId, Command.ASK_VIDEO) ?: return
        if (isVideo(call) || call.videoAsked?.by == Party.ME) return resolve(request, Outcome.OK)
        call.videoAsked = VideoAsked(Party.ME, serverNow() + Constants.VIDEO_MS)
        sayVideo(call, Command.ASK_VIDEO, mapOf("callId" to call.id), request)
    }

    private fun answerVideo(request: Int, callId: String, accepted: Boolean) {
        val call = inVideo(request, callId, Command.ANSWER_VIDEO, accepted) ?: return
        if (call.videoAsked?.by != Party.PEER) {
            val isSo = accepted && isVideo(call)
            return resolve(request, if (isSo) Outcome.OK else Outcome.failed(ErrorCode.INVALID_STATE, "nobody asks for video"))
        }
        call.videoAsked = null
        sayVideo(call, Command.ANSWER_VIDEO, mapOf("callId" to call.id, "accepted" to accepted), request)
    }

    private fun toAudio(request: Int, callId: String) {
        val call = inVideo(request, callId, Command.TO_AUDIO) ?: return
        if (isVideo(call)) return sayVideo(call, Command.TO_AUDIO, mapOf("callId" to call.id), request)
        val asks = call.videoAsked?.by == Party.ME
        val error = Outcome.failed(ErrorCode.INVALID_STATE, "a request for video is not taken back")
        resolve(request, if (asks) error else Outcome.OK)
    }

    private fun message(say: Input.Say) {
        val call = find(keyOf(say.callId)) ?: return resolve(say.request, NO_SUCH_CALL)
        if (call.phase == Phase.ENDED) return resolve(say.request, tooLate(call))
        if (say.fault != null) return resolve(say.request, Outcome.failed(ErrorCode.INVALID_PAYLOAD, say.fault))
        if (!say.keep && state.link.status != LinkStatus.READY) {
            return resolve(say.request, Outcome.failed(ErrorCode.NOT_CONNECTED, "nothing was sent"))
        }
        if (state.messages.size >= Constants.MESSAGES) {
            return resolve(say.request, Outcome.failed(ErrorCode.RATE_LIMITED, "too many messages wait"))
        }
        val payload = mutableMapOf("callId" to call.id, "data" to say.data)
        if (say.keep) payload["keep"] = true
        if (say.messageId != null) payload["messageId"] = say.messageId
        state.messages += Said(say.request, call.key, payload, say.keep)
        if (state.messages.size == 1) sendMessage()
    }

    /** One after the other, so that the order stays what it is whatever has to be said again. */
    private fun sendMessage() {
        val message = state.messages.firstOrNull()
        if (message == null || state.link.status != LinkStatus.READY) return
        val call = find(message.key)
        if (call?.phase == Phase.ENDED) return messageDone(tooLate(call))
        message.tries += 1
        effects += Effect.Send("message", message.key, message.request, "call:message", message.payload)
    }

    private fun watch(users: List<String>) {
        // One that is no id, and the server would refuse them all, in every session.
        val more = users.distinct().filter { ID.matches(it) && it !in state.watched }
        val fit = more.take(max(0, Constants.WATCHED - state.watched.size))
        state.watched += fit
        if (fit.isNotEmpty() && state.link.status == LinkStatus.READY) presence("watch", "presence:subscribe", fit)
    }

    private fun unwatch(users: List<String>) {
        val gone = state.watched.filter { it in users }
        state.watched -= gone.toSet()
        state.online -= gone.toSet()
        if (gone.isNotEmpty() && state.link.status == LinkStatus.READY) presence("unwatch", "presence:unsubscribe", gone)
    }

    /** Says again what was refused for a while, or not answered. */
    private fun watchAll() {
        if (!state.watchAgain || state.link.status != LinkStatus.READY) return
        state.watchAgain = false
        if (state.watched.isNotEmpty()) presence("watch", "presence:subscribe", state.watched)
    }

    private fun watchAnswered(users: Fields, error: SignalingError?) {
        if (error == null) {
            state.watchTries = 0
            return present(users)
        }
        state.watchTries += 1
        val again = waitBefore(error, state.watchTries, false) ?: return
        state.watchAgain = true
        effects += Effect.Timer("watch", again)
    }

    private fun presence(command: String, event: String, userIds: List<String>) {
        effects += Effect.Send(command, "", 0, event, mapOf("userIds" to userIds))
    }

    // ---- a word and its answer

    private fun say(call: CallRecord, command: Command, payload: Fields, request: Int? = null) {
        // A later word takes the place of an earlier one.
        settle(call, Outcome.failed(ErrorCode.OVERTAKEN, "overtaken by ${command.word}"))
        call.pending = Pending(command, payload, listOfNotNull(request))
        send(call, call.pending)
    }

    private fun send(call: CallRecord, said: Pending?) {
        if (said == null || state.link.status != LinkStatus.READY) return
        said.tries += 1
        effects += Effect.Send(said.command.word, call.key, said.tries, said.command.event, said.payload)
    }

    private fun sayVideo(call: CallRecord, command: Command, payload: Fields, request: Int) {
        call.video = Pending(command, payload, listOf(request))
        send(call, call.video)
    }

    private fun videoAnswered(call: CallRecord, video: Pending, error: SignalingError?) {
        val again = error?.let { waitBefore(it, video.tries, false) }
        if (again != null) {
            effects += Effect.Timer("video:${call.key}", again)
            return
        }
        settleVideo(call, Outcome(error))
        if (video.command != Command.ASK_VIDEO) {
            if (error == null && video.command == Command.TO_AUDIO) typed(call, CallType.AUDIO.name)
            else if (error == null && video.payload["accepted"] == true) typed(call, CallType.VIDEO.name)
        } else if (error != null) {
            call.videoAsked = null
        } else {
            call.videoAsked = VideoAsked(Party.ME, serverNow() + Constants.VIDEO_MS)
            // The server answers in any case, when it says so: this is for a server that forgot.
            effects += Effect.Timer("asked:${call.key}", Constants.RING_MAX_MS)
        }
    }

    /** The call is of this type now: a word that wanted it has its answer. */
    private fun typed(call: CallRecord, callType: String) {
        call.callType = callType
        val command = call.video?.command
        if (isVideo(call)) call.videoAsked = null
        val wanted = if (isVideo(call)) command == Command.ASK_VIDEO || call.video?.payload?.get("accepted") == true
        else command == Command.TO_AUDIO
        if (wanted) settleVideo(call, Outcome.OK)
    }

    private fun unanswered(command: String, key: String, number: Int) {
        if (command == "probe" && state.link.status == LinkStatus.READY) return drop()
        if (command == "message") return messageUnanswered(number)
        if (command == "watch") {
            return watchAnswered(emptyMap(), SignalingError(ErrorCode.UNAVAILABLE, "no answer"))
        }
        val call = find(key) ?: return
        if (command == "confirm" && call.missing > 0) effects += Effect.Timer("missing:$key", Constants.MISSING_MS)
        val pending = call.pending
        if (pending?.command?.word == command && pending.tries == number) send(call, call.pending)
        val video = call.video
        if (video?.command?.word == command && video.tries == number) send(call, call.video)
    }

    private fun ack(command: String, key: String, number: Int, ack: Fields) {
        val error = if (ack["success"] == true) null else errorOf(ack)
        if (command == "watch") return watchAnswered(fieldsOf(ack["users"]), error)
        if (command == "message") return messageAnswered(number, ack, error)
        val call = find(key) ?: return
        if (command == "confirm") return confirmed(call, ack, error)
        val video = call.video
        if (video?.command?.word == command) return videoAnswered(call, video, error)
        val pending = call.pending
        if (pending?.command?.word != command) return
        if (command == "call") return dialAnswered(call, ack, error)
        val again = error?.let { waitBefore(it, pending.tries, mayComeYet(call, pending)) }
        when {
            again != null -> effects += Effect.Timer("retry:${call.key}", again)
            // The call is over for this user, whatever had become of it.
            command != "answer" ->
                settle(call, if (error?.code == ErrorCode.INVALID_PAYLOAD) Outcome(error) else Outcome.OK)
            error == null -> {
                heardOf(call).restored = false
                settle(call, Outcome.OK)
                if (call.phase == Phase.ANSWERING) activate(call, serverNow())
            }
            error.code == ErrorCode.INVALID_STATE && ack["state"] == "active" -> {
                settle(call, Outcome.failed(ErrorCode.ANSWERED_ELSEWHERE, "another device has the call"))
                end(call, EndReason.ANSWERED_ELSEWHERE)
            }
            else -> {
                settle(call, Outcome(error))
                val tooLate = error.code == ErrorCode.INVALID_STATE
                end(call, error.reason ?: if (tooLate) EndReason.OTHER else EndReason.FAILED)
            }
        }
    }

    /** Milliseconds until the word is said again, if it is to be. */
    private fun waitBefore(error: SignalingError, tries: Int, mayComeYet: Boolean): Long? {
        val pause = min(Constants.RETRY_MAX_MS, Constants.RETRY_MS shl min(tries - 1, 10))
        return when (error.code) {
            ErrorCode.RATE_LIMITED -> max(error.retryAfterMs ?: 0, pause)
            ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL -> pause
            ErrorCode.CALL_NOT_FOUND -> pause.takeIf { mayComeYet }
            else -> null
        }
    }

    /** The answer to a push may be here before the call is. */
    private fun mayComeYet(call: CallRecord, pending: Pending): Boolean =
        pending.command == Command.ANSWER && !call.known && call.phase == Phase.ANSWERING

    private fun dialAnswered(call: CallRecord, ack: Fields, error: SignalingError?) {
        val byPush = ack["useFcmFallback"] == true
        if (error == null || byPush) {
            heardOf(call).byPush = byPush
            if (call.phase == Phase.CALLING) rings(call)
            return dialled(call)
        }
        val mayRing = error.code == ErrorCode.UNAVAILABLE || error.code == ErrorCode.INTERNAL ||
            (error.code == ErrorCode.RATE_LIMITED && (call.pending?.tries ?: 0) > 1)
        settle(call, Outcome(error))
        end(call, if (error.code == ErrorCode.BUSY) EndReason.BUSY else error.reason ?: EndReason.FAILED)
        // This one or one before it may have been done all the same.
        if (mayRing) say(call, Command.CANCEL, mapOf("callId" to call.id))
    }

    /** The line of this user is the dialled call's now: what else was known is over, and not everybody is told so. */
    private fun dialled(call: CallRecord) {
        settle(call, Outcome.OK)
        for (other in state.calls) {
            if (other !== call && other.known && other.phase != Phase.ENDED) end(other, EndReason.SUPERSEDED)
        }
    }

    private fun rings(call: CallRecord) {
        call.phase = Phase.RINGING
        effects += Effect.Timer("ring:${call.key}", Constants.RING_MAX_MS)
    }

    private fun confirm(call: CallRecord) {
        effects += Effect.Send("confirm", call.key, 0, "call:ringing", mapOf("callId" to call.id))
    }

    /** A call that may be another device's: its end is told to that one and to the other side. */
    private fun askOfRestored(call: CallRecord) {
        if (!call.restored || call.phase == Phase.ENDED) return
        if (call.phase == Phase.ACTIVE && state.link.status == LinkStatus.READY) confirm(call)
        effects += Effect.Timer("restored:${call.key}", Constants.RESTORED_MS)
    }

    /** `unavailable` is the answer of a store that is away, or has not got back what it lost. After any other the next session
     * has to name the call; where it does not, and the store is still there, it is believed lost. */
    private fun confirmed(call: CallRecord, ack: Fields, error: SignalingError?) {
        if (call.phase == Phase.ENDED) return
        val isOver = error?.code == ErrorCode.INVALID_STATE && ack["state"] == "ended"
        if (isOver) return end(call, error?.reason ?: EndReason.OTHER)
        if (call.missing == 0) {
            // A caller is `not_a_participant` here, alive or not; when the server has forgotten the call he is told.
            if (call.restored && error?.code == ErrorCode.CALL_NOT_FOUND) end(call, EndReason.LOST)
            return
        }
        when (error?.code) {
            ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL, ErrorCode.RATE_LIMITED -> {
                call.missing = 1
                effects += Effect.Timer("missing:${call.key}", Constants.MISSING_MS)
            }
            else -> {
                if (call.missing == 2) return end(call, EndReason.LOST)
                call.missing = 2
                drop()
            }
        }
    }

    private fun messageAnswered(request: Int, ack: Fields, error: SignalingError?) {
        val message = state.messages.firstOrNull()
        if (message?.request != request) return
        if (error == null) {
            val handedTo = ack["handedTo"] as? List<*>
            val devices = handedTo?.sumOf { numberOf(fieldsOf(it)["devices"]) ?: 0L }
            return messageDone(Outcome(null, devices?.toInt()))
        }
        val again = if (message.keep) waitBefore(error, message.tries, false) else null
        if (again == null) return messageDone(Outcome(error))
        effects += Effect.Timer("message:$request", again)
    }

    private fun messageUnanswered(request: Int) {
        val message = state.messages.firstOrNull()
        if (message?.request != request) return
        if (message.keep) sendMessage()
        else messageDone(Outcome.failed(ErrorCode.UNCONFIRMED, "no answer of the server"))
    }

    private fun messageDone(outcome: Outcome) {
        val message = state.messages.firstOrNull()
        state.messages = state.messages.drop(1)
        if (message != null) resolve(message.request, outcome)
        sendMessage()
    }

    /** The connection broke: kept ones are said again in the next session. */
    private fun lostMessages() {
        val (kept, others) = state.messages.partition { it.keep }
        for (message in others) {
            val outcome = if (message.tries > 0) {
                Outcome.failed(ErrorCode.UNCONFIRMED, "the connection broke")
            } else {
                Outcome.failed(ErrorCode.NOT_CONNECTED, "nothing was sent")
            }
            resolve(message.request, outcome)
        }
        state.messages = kept
    }

    // ---- words of the server

    private fun event(name: String, data: Fields) {
        if (name == "session:ready") return ready(data)
        if (name == "user:online" || name == "user:offline") {
            val user = textOf(data["userId"]) ?: return
            return present(mapOf(user to (name == "user:online")))
        }
        if (name.startsWith("app:")) {
            effects += Effect.App(name, data)
            return
        }
        val id = textOf(data["callId"]) ?: return
        val call = find(keyOf(id))
        if (name == "call:incoming") return incoming(id, call, data, false)
        if (call == null) {
            if (name == "call:cancelled" || name == "call:ended") remember(id)
            return
        }
        if (call.phase == Phase.ENDED) {
            val declined = name == "call:reject:confirmed" && call.pending?.command == Command.DECLINE
            if (declined) settle(call, Outcome.OK)
            return
        }
        val text = textOf(data["reason"])
        val outgoing = call.role == Role.CALLER && call.phase != Phase.ACTIVE
        when (name) {
            "call:ringing" -> if (outgoing) heardOf(call).alerting = true
            "call:accepted" -> {
                // Told again to an active caller: the call is there.
                if (call.role == Role.CALLER) heardOf(call)
                if (outgoing) activate(call, numberOf(data["timestamp"]) ?: now)
            }
            "call:rejected" -> if (outgoing) end(call, EndReason.REJECTED, text)
            "call:timeout" -> if (outgoing) end(call, EndReason.NO_ANSWER, text)
            "call:busy" -> if (outgoing) end(call, EndReason.BUSY, text)
            "call:cancelled" -> {
                if (call.role == Role.CALLER) return
                val reason = CANCEL_REASONS[text] ?: EndReason.CANCELLED
                val elsewhere = reason == EndReason.ANSWERED_ELSEWHERE || reason == EndReason.DECLINED_ELSEWHERE
                if (call.phase != Phase.ACTIVE || call.restored || !elsewhere) end(call, reason, text)
            }
            "call:ended" -> {
                numberOf(data["durationMs"])?.let { call.durationMs = it }
                end(call, END_REASONS[text] ?: EndReason.HUNG_UP, text)
            }
            "call:upgrade:request" -> {
                if (call.phase != Phase.ACTIVE || textOf(data["senderId"]) != call.peer) return
                // Answered here already, or asked from both sides: that the server has not read yet.
                val video = call.video
                if (video != null && video.command != Command.TO_AUDIO) return
                val left = numberOf(data["expiresInMs"]) ?: Constants.VIDEO_MS
                call.videoAsked = VideoAsked(Party.PEER, serverNow() + left)
                effects += Effect.Timer("asked:${call.key}", left + Constants.RING_GRACE_MS)
            }
            "call:upgrade:response" -> {
                // Told again in each session: of a request that was not heard of yet, if nothing is asked it says nothing
                // new.
                val video = call.video
                val isSaid =
                    if (video?.command == Command.ASK_VIDEO) video.tries > 0 else call.videoAsked?.by == Party.ME
                if (!isSaid) return
                call.videoAsked = null
                settleVideo(call, Outcome.OK)
                if (data["accepted"] == true) typed(call, CallType.VIDEO.name)
            }
            "call:downgraded" -> if (call.phase == Phase.ACTIVE) typed(call, CallType.AUDIO.name)
            "call:message" -> {
                val sender = textOf(data["senderId"])
                if (sender != call.peer) return
                // Kept ones come again in each session.
                val order = numberOf(data["order"])
                if (order != null && order <= call.heard) return
                if (order != null) call.heard = order
                effects += Effect.Message(
                    call.id, sender, data["data"], numberOf(data["timestamp"]) ?: now, textOf(data["messageId"]),
                    data["kept"] == true,
                )
            }
        }
    }

    private fun incoming(id: String, known: CallRecord?, data: Fields, pushed: Boolean) {
        val peer = textOf(data["callerId"]) ?: return
        if (known != null) {
            if (known.role == Role.CALLER || known.phase == Phase.ENDED) return
            heardOf(known).fields = withMore(known.fields, data)
            if (known.phase == Phase.RINGING) ringFor(known, data)
            return
        }
        val call = CallRecord(
            id, keyOf(id), Role.CALLEE, peer, textOf(data["callType"]) ?: "AUDIO", Phase.RINGING, data,
            byPush = pushed, known = !pushed,
        )
        keep(call)
        ringFor(call, data)
        effects += Effect.Incoming(id)
    }

    private fun ringFor(call: CallRecord, data: Fields) {
        val left = numberOf(data["expiresInMs"]) ?: Constants.RING_MS
        effects += Effect.Timer("ring:${call.key}", left + Constants.RING_GRACE_MS)
    }

    /** A new session: the server's record against this one, then every word that it has not answered. */
    private fun ready(data: Fields) {
        if (state.link.status != LinkStatus.CONNECTING && state.link.status != LinkStatus.READY) return
        state.link = Link(LinkStatus.READY)
        state.openMs = Constants.OPEN_MS
        numberOf(data["serverTime"])?.let { tick(it - now) }
        val live = fieldsOf(data["call"])
        val liveKey = keyOf(textOf(live["callId"]) ?: "")
        val ended = mutableMapOf<String, EndReason>()
        for (entry in (data["ended"] as? List<*>).orEmpty().map(::fieldsOf)) {
            val id = textOf(entry["callId"]) ?: continue
            ended[keyOf(id)] = reasonOf(entry["reason"]) ?: EndReason.OTHER
        }
        for (call in state.calls.filter { it.phase != Phase.ENDED }) {
            val over = ended[call.key]
            when {
                call.key == liveKey -> stillThere(call, live)
                over != null -> end(call, over)
                call.known && liveKey != "" -> end(call, EndReason.LOST)
                call.known && call.missing == 0 -> call.missing = 1
            }
        }
        for (call in state.calls) {
            send(call, call.pending)
            if (call.missing > 0 && call.phase != Phase.ENDED) confirm(call)
            val video = call.video ?: continue
            // How requests were answered is told again behind this event: said before that, a request would be taken for
            // another.
            if (video.command != Command.ASK_VIDEO) send(call, call.video)
            else effects += Effect.Timer("video:${call.key}", Constants.RETRY_MS)
        }
        val known = find(liveKey)
        if (known == null) restore(live) else if (known.phase == Phase.ENDED) stillThereThough(known, live)
        state.watchTries = 0
        state.watchAgain = false
        if (state.watched.isNotEmpty()) presence("watch", "presence:subscribe", state.watched)
        sendMessage()
    }

    private fun stillThere(call: CallRecord, live: Fields) {
        heardOf(call)
        textOf(live["callType"])?.let { typed(call, it) }
        if (live["state"] != "active") return
        if (call.role == Role.CALLER) {
            if (call.phase != Phase.ACTIVE) activate(call, serverNow())
        } else if (call.phase == Phase.RINGING) {
            end(call, EndReason.ANSWERED_ELSEWHERE)
        }
    }

    /** The server takes for live what was given up here as `lost`, or as a dial that `failed`: the other side must not talk to
     * nobody, nor ring for him. But it may be the call of another device of this user: a callee's word leaves that one alone,
     * and of a caller's that was restored nothing is said. */
    private fun stillThereThough(call: CallRecord, live: Fields) {
        val givenUp = call.reason == EndReason.LOST || (call.role == Role.CALLER && call.reason == EndReason.FAILED)
        if (!givenUp || call.pending != null) return
        val active = live["state"] == "active"
        val payload = mapOf("callId" to call.id)
        if (call.role == Role.CALLEE) {
            if (active) say(call, Command.DECLINE, payload)
        } else if (!call.restored) {
            say(call, if (active) Command.HANG_UP else Command.CANCEL, payload)
        }
    }

    /** A live call that this process does not know: of the time before it started, or of another device. What rings here
     * comes as `call:incoming`. */
    private fun restore(live: Fields) {
        val id = textOf(live["callId"]) ?: return
        val peer = textOf(live["peerId"]) ?: return
        val role = if (live["role"] == "callee") Role.CALLEE else Role.CALLER
        val active = live["state"] == "active"
        if (role == Role.CALLEE && !active) return
        val call = CallRecord(
            id, keyOf(id), role, peer, textOf(live["callType"]) ?: "AUDIO", if (active) Phase.ACTIVE else Phase.RINGING,
            emptyMap(), alerting = live["state"] == "ringing", restored = true, known = true,
        )
        keep(call)
        if (!active) rings(call)
        effects += Effect.Timer("restored:${call.key}", Constants.RESTORED_MS)
        effects += Effect.Restored(id)
    }

    private fun tick(sample: Long) {
        if (abs(sample - clockOffset(state.clock)) > Constants.CLOCK_STEP_MS) state.clock = emptyList()
        state.clock = (state.clock + sample).takeLast(Constants.CLOCK_SAMPLES)
    }

    private fun present(users: Fields) {
        for (user in state.watched) {
            val online = users[user] as? Boolean ?: continue
            if (state.online[user] == online) continue
            state.online += user to online
            effects += Effect.Presence(user, online)
        }
    }

    // ---- pushes

    private fun push(request: Int, data: Fields) {
        val outcome = pushed(data)
        effects += Effect.Pushed(request, outcome)
        // Also where a connection seems to be there: the socket would have been first if anything passed. One that seems old
        // may be of now, by a clock that was set since the last session.
        if (outcome == PushOutcome.RINGS || outcome == PushOutcome.TOO_OLD) resume()
    }

    private fun pushed(data: Fields): PushOutcome {
        val id = textOf(data["callId"]) ?: return PushOutcome.NOT_A_CALL
        val call = find(keyOf(id))
        if (data["type"] == "call_cancelled") {
            if (call == null) remember(id)
            else if (call.role == Role.CALLEE && call.phase == Phase.RINGING) end(call, EndReason.CANCELLED)
            return PushOutcome.CANCELLED
        }
        if (data["type"] != "incoming_call" || textOf(data["callerId"]) == null) return PushOutcome.NOT_A_CALL
        val fields = (data - setOf("type", "channelId", "timestamp")).toMutableMap()
        textOf(data["channelId"])?.let { fields["channelName"] = it }
        if (call != null) {
            if (call.phase == Phase.ENDED) return PushOutcome.OVER
            if (call.role == Role.CALLEE && !call.restored) call.fields = withMore(fields, call.fields)
            return PushOutcome.KNOWN
        }
        val sentAt = numberOf(data["timestamp"])
        val age = if (sentAt == null) 0 else max(0, serverNow() - sentAt)
        if (age > Constants.PUSH_AGE_MS) return PushOutcome.TOO_OLD
        fields["expiresInMs"] = Constants.RING_MS - age
        incoming(id, null, fields, true)
        return PushOutcome.RINGS
    }

    // ---- records

    private fun find(key: String): CallRecord? = state.calls.find { it.key == key }

    /** A call that ended before this phone heard of it: a push that comes later does not ring. */
    private fun remember(id: String) {
        val call = CallRecord(id, keyOf(id), Role.CALLEE, "", "", Phase.ENDED, emptyMap(), known = true)
        call.reason = EndReason.CANCELLED
        keep(call)
    }

    /** Adds a call; the oldest that are over make room. */
    private fun keep(call: CallRecord) {
        val calls = state.calls
        calls += call
        while (calls.size > Constants.CALLS_KEPT) {
            var oldest = calls.indexOfFirst { it.phase == Phase.ENDED && it.pending == null }
            if (oldest < 0) oldest = calls.indexOfFirst { it.phase == Phase.ENDED }
            if (oldest < 0) oldest = 0
            settle(calls[oldest], Outcome.failed(ErrorCode.UNREACHABLE, "no answer of the server"))
            settleVideo(calls[oldest], Outcome.failed(ErrorCode.UNREACHABLE, "no answer of the server"))
            calls.removeAt(oldest)
        }
    }

    private fun heardOf(call: CallRecord): CallRecord {
        call.known = true
        call.missing = 0
        return call
    }

    private fun activate(call: CallRecord, at: Long) {
        call.phase = Phase.ACTIVE
        call.acceptedAt = at
        if (call.pending?.command == Command.CALL) dialled(call)
    }

    private fun end(call: CallRecord, reason: EndReason, text: String? = null) {
        call.phase = Phase.ENDED
        call.reason = reason
        if (text != null) call.text = text
        val message = "the call is over: ${reason.name.lowercase()}"
        val overtaken = Outcome(SignalingError(ErrorCode.OVERTAKEN, message, reason = reason))
        settle(call, overtaken)
        settleVideo(call, overtaken)
        call.videoAsked = null
        // The first may be under way: its answer is waited for.
        val unsaid = state.messages.filterIndexed { at, it -> it.key == call.key && (at > 0 || it.tries == 0) }
        for (message in unsaid) resolve(message.request, tooLate(call))
        state.messages -= unsaid.toSet()
    }

    /** The word under way, if there is one, has come to its end. */
    private fun settle(call: CallRecord, outcome: Outcome) {
        for (request in call.pending?.requests.orEmpty()) resolve(request, outcome)
        call.pending = null
    }

    private fun settleVideo(call: CallRecord, outcome: Outcome) {
        for (request in call.video?.requests.orEmpty()) resolve(request, outcome)
        call.video = null
    }

    private fun serverNow(): Long = now + clockOffset(state.clock)

    private fun resolve(request: Int, outcome: Outcome) {
        effects += Effect.Resolve(request, outcome)
    }
}

/** [more] counts, but for texts that are empty: push and socket may each know what the other does not, as a media token. */
private fun withMore(fields: Fields, more: Fields): Fields =
    fields + more.filter { (name, value) -> value != "" || name !in fields }

private fun isVideo(call: CallRecord): Boolean = call.callType.equals(CallType.VIDEO.name, ignoreCase = true)

private val NO_SUCH_CALL = Outcome.failed(ErrorCode.CALL_NOT_FOUND, "no such call")

private fun notYours(message: String) = Outcome.failed(ErrorCode.NOT_A_PARTICIPANT, message)

private fun tooLate(call: CallRecord) =
    Outcome(SignalingError(ErrorCode.INVALID_STATE, "the call is over", reason = call.reason))

private fun errorOf(ack: Fields): SignalingError {
    val code = when {
        ack["busy"] == true -> ErrorCode.BUSY
        // With VIDEO_SWITCH=off, as the deployed server: no code.
        ack["error"] == "Not supported" -> ErrorCode.NOT_SUPPORTED
        else -> SERVER_CODES[ack["code"]] ?: ErrorCode.INTERNAL
    }
    return SignalingError(
        code,
        textOf(ack["error"]) ?: "refused",
        numberOf(ack["retryAfterMs"]),
        textOf(ack["ringingCallId"]),
        reasonOf(ack["reason"]),
    )
}

private fun reasonOf(value: Any?): EndReason? = textOf(value)?.let { SERVER_REASONS[it] ?: EndReason.OTHER }

@Suppress("UNCHECKED_CAST")
private fun fieldsOf(value: Any?): Fields = value as? Map<String, Any?> ?: emptyMap()

private fun textOf(value: Any?): String? = (value as? String)?.takeIf { it != "" }

/** A finite number, also one that is written as a text, as FCM does. */
private fun numberOf(value: Any?): Long? = when (value) {
    is Double -> if (value.isNaN() || value.isInfinite()) null else value.toLong()
    is Number -> value.toLong()
    is String -> if (value.length in 1..15 && value.all { it in '0'..'9' }) value.toLong() else null
    else -> null
}
