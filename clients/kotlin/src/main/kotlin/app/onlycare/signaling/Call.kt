package app.onlycare.signaling

import java.io.Closeable
import java.util.UUID
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow

/**
 * One call, for one screen. It hears of nothing but this call: what the server says of another has another [Call].
 *
 * Each word may be said twice, gives a typed result and never throws. It is said until the server has answered, over
 * reconnects, or until something overtook it, also if the coroutine that waits for the result is cancelled. [cancel],
 * [decline] and [hangUp] end the call here at once.
 *
 * ```kotlin
 * call.state.collect { state ->
 *     when (state.phase) {
 *         Phase.ACTIVE -> println("talk on ${call.fields["channelName"]}")
 *         Phase.ENDED -> println("over: ${state.reason}")
 *         else -> println(if (state.alerting) "it rings" else "…")
 *     }
 * }
 * ```
 */
public class Call internal constructor(private val phone: Phone, record: CallRecord) {
    /** As the server spells it, `CALL_17642`. */
    public val id: String = record.id

    /** Whether this user dialled. */
    public val role: Role = record.role

    /** The user at the other end. */
    public val peer: String = record.peer

    private val mutableState = MutableStateFlow(stateOf(record))
    private val mutableMessages =
        MutableSharedFlow<Message>(replay = MESSAGES_KEPT, onBufferOverflow = BufferOverflow.DROP_OLDEST)
    private val states = Listeners<CallState>(phone::failed)
    private val listeners = Listeners<Message>(phone::failed)
    private var dialled: CompletableDeferred<Outcome>? = null

    /** What came with it: `callerName`, `channelName`, `agoraToken` and whatever the caller's app added. */
    @Volatile
    public var fields: Map<String, Any?> = record.fields
        private set

    /** How it is, and every change. */
    public val state: StateFlow<CallState> get() = mutableState

    /** `AUDIO` or `VIDEO`, which it is now: [CallState.callType]. */
    public val callType: String get() = mutableState.value.callType

    /** What the other party sends; whoever begins to collect has the last 64 first. */
    public val messages: Flow<Message> get() = mutableMessages

    /**
     * A caller's: what became of the dial. Ok: the callee's phones ring, or a push is on its way to them
     * ([CallState.byPush]). Errors: [ErrorCode.BUSY], [ErrorCode.RATE_LIMITED], [ErrorCode.UNAVAILABLE],
     * [ErrorCode.NOT_A_PARTICIPANT], [ErrorCode.INVALID_STATE], [ErrorCode.INVALID_PAYLOAD], [ErrorCode.UNREACHABLE] (no
     * server for 30 s), [ErrorCode.LOGIN_REQUIRED], [ErrorCode.OVERTAKEN]. For a callee's, and for one that is restored:
     * ok.
     */
    public suspend fun dialled(): Outcome = (phone.onWorker { dialled })?.await() ?: Outcome.OK

    /** A callee's. Ok: it is active, and on this device. Errors: [ErrorCode.ANSWERED_ELSEWHERE],
     * [ErrorCode.OVERTAKEN], [ErrorCode.INVALID_STATE], [ErrorCode.CALL_NOT_FOUND], [ErrorCode.NOT_A_PARTICIPANT]. */
    public suspend fun answer(): Outcome = answering().await()

    /** A callee's, while it rings; after that it hangs up. The caller reads [reason], up to 200 characters. Ok: the
     * server knows. Errors: [ErrorCode.NOT_A_PARTICIPANT], [ErrorCode.CLOSED]. */
    public suspend fun decline(reason: String? = null): Outcome = declining(reason).await()

    /** A caller's, while it rings; after that it hangs up. Ok: the server knows. Errors:
     * [ErrorCode.NOT_A_PARTICIPANT], [ErrorCode.CLOSED]. */
    public suspend fun cancel(reason: String? = null): Outcome = cancelling(reason).await()

    /** Whatever it is at: cancels, declines or hangs up. Ok: the server knows. Error: [ErrorCode.CLOSED]. */
    public suspend fun hangUp(): Outcome = hangingUp().await()

    /**
     * Asks the other side of an audio call for video, while it is active. Ok: it is asked ([CallState.videoAsked]), or it
     * is a video call; what comes of it is in [state]. Errors: [ErrorCode.INVALID_STATE],
     * [ErrorCode.NOT_SUPPORTED], [ErrorCode.OVERTAKEN], [ErrorCode.CALL_NOT_FOUND], [ErrorCode.NOT_A_PARTICIPANT],
     * [ErrorCode.CLOSED].
     */
    public suspend fun askVideo(): Outcome = askingVideo().await()

    /** Says whether it becomes a video call, where the other side asks. Ok: the server knows, and it is one if
     * [accepted]. Errors: as [askVideo]. */
    public suspend fun answerVideo(accepted: Boolean): Outcome = answeringVideo(accepted).await()

    /** Makes a video call an audio call, without asking the other side. Ok: it is one. Errors: as [askVideo]. */
    public suspend fun toAudio(): Outcome = goingToAudio().await()

    /**
     * Sends a text, number, boolean, list or map, of 4 KiB at most as JSON, to the other party, behind what was sent
     * before. Ok: [Outcome.devices] of the other party were handed it. Errors: [ErrorCode.NOT_CONNECTED] (not sent),
     * [ErrorCode.UNCONFIRMED] (sent, and who knows), [ErrorCode.INVALID_PAYLOAD], [ErrorCode.INVALID_STATE],
     * [ErrorCode.NOT_A_PARTICIPANT], [ErrorCode.CALL_NOT_FOUND], [ErrorCode.RATE_LIMITED], [ErrorCode.UNAVAILABLE],
     * [ErrorCode.CLOSED].
     *
     * @param keep it is said until the server has answered, over reconnects, and told again to devices of the other
     *   party that join or return while the call lives; else it is sent once
     * @param id a name of its own, up to 64 of `A-Z a-z 0-9 _ . : -`; what is kept has one in any case
     */
    public suspend fun send(data: Any?, keep: Boolean = false, id: String? = null): Outcome =
        sending(data, keep, id).await()

    /** For Java: [dialled]. */
    public fun dialled(done: Listener<Outcome>) {
        val result = phone.onWorker { dialled }
        if (result == null) phone.tell { done.on(Outcome.OK) } else report(result, done)
    }

    /** For Java: [answer]. */
    public fun answer(done: Listener<Outcome>): Unit = report(answering(), done)

    /** For Java: [decline]. */
    public fun decline(reason: String?, done: Listener<Outcome>): Unit = report(declining(reason), done)

    /** For Java: [cancel]. */
    public fun cancel(reason: String?, done: Listener<Outcome>): Unit = report(cancelling(reason), done)

    /** For Java: [hangUp]. */
    public fun hangUp(done: Listener<Outcome>): Unit = report(hangingUp(), done)

    /** For Java: [askVideo]. */
    public fun askVideo(done: Listener<Outcome>): Unit = report(askingVideo(), done)

    /** For Java: [answerVideo]. */
    public fun answerVideo(accepted: Boolean, done: Listener<Outcome>): Unit = report(answeringVideo(accepted), done)

    /** For Java: [toAudio]. */
    public fun toAudio(done: Listener<Outcome>): Unit = report(goingToAudio(), done)

    /** For Java: [send]. */
    public fun send(data: Any?, done: Listener<Outcome>): Unit = report(sending(data, false, null), done)

    /** For Java: [send]. */
    public fun send(data: Any?, keep: Boolean, id: String?, done: Listener<Outcome>): Unit =
        report(sending(data, keep, id), done)

    /** For Java: [state], every change and how it is now. Close what it gives to hear no more. */
    public fun onState(listener: Listener<CallState>): Closeable =
        phone.hear(states, listener) { listOf(mutableState.value) }

    /** For Java: [messages]. Close what it gives to hear no more. */
    public fun onMessage(listener: Listener<Message>): Closeable =
        phone.hear(listeners, listener) { mutableMessages.replayCache }

    /** The id and the phase. */
    override fun toString(): String = "$id ${mutableState.value.phase}"

    internal fun update(record: CallRecord) {
        fields = record.fields
        val state = stateOf(record)
        if (state == mutableState.value) return
        mutableState.value = state
        phone.tell { states.tell(state) }
    }

    internal fun hear(message: Message) {
        mutableMessages.tryEmit(message)
        phone.tell { listeners.tell(message) }
    }

    internal fun dials(result: CompletableDeferred<Outcome>) {
        if (role == Role.CALLER && dialled == null) dialled = result
    }

    private fun answering() = phone.say { Input.Answer(it, id) }

    private fun declining(reason: String?) = phone.say { Input.Decline(it, id, reason) }

    private fun cancelling(reason: String?) = phone.say { Input.Cancel(it, id, reason) }

    private fun hangingUp() = phone.say { Input.HangUp(it, id) }

    private fun askingVideo() = phone.say { Input.AskVideo(it, id) }

    private fun answeringVideo(accepted: Boolean) = phone.say { Input.AnswerVideo(it, id, accepted) }

    private fun goingToAudio() = phone.say { Input.ToAudio(it, id) }

    private fun sending(data: Any?, keep: Boolean, messageId: String?): CompletableDeferred<Outcome> {
        val (read, fault) = readOnce(data, DATA_BYTES)
        val name = messageId ?: if (keep) UUID.randomUUID().toString() else null
        return phone.say { Input.Say(it, id, read, keep, name, fault) }
    }

    @OptIn(ExperimentalCoroutinesApi::class)
    private fun report(result: CompletableDeferred<Outcome>, done: Listener<Outcome>) {
        result.invokeOnCompletion { phone.tell { done.on(result.getCompleted()) } }
    }

    private companion object {
        const val MESSAGES_KEPT = 64
        const val DATA_BYTES = 4 * 1024
    }
}

private fun stateOf(record: CallRecord) = with(record) {
    CallState(phase, alerting, byPush, restored, acceptedAt, reason, text, durationMs, callType, videoAsked)
}
