package app.onlycare.signaling

/** Which side of a call this phone is on. */
public enum class Role {
    /** This user dialled. */
    CALLER,

    /** This user is called. */
    CALLEE,
}

/** What is to be shown and heard. */
public enum class CallType {
    /** Heard only; it may become a video call ([Call.askVideo]). */
    AUDIO,

    /** Seen and heard. */
    VIDEO,
}

/** Who of the two in a call. */
public enum class Party {
    /** This user. */
    ME,

    /** The user at the other end. */
    PEER,
}

/**
 * An audio call is to become a video call, and nobody has answered yet.
 *
 * @property until when it is answered with no by itself, in the server's milliseconds since the epoch
 */
public data class VideoAsked(val by: Party, val until: Long)

/** Where a call is. It only moves forward, and [ENDED] is final. */
public enum class Phase {
    /** Dialled here, and the server has not answered yet. */
    CALLING,

    /** It rings, there or here. */
    RINGING,

    /** Answered here, and the server has not confirmed it yet. */
    ANSWERING,

    /** Both are in it. */
    ACTIVE,

    /** Over; [CallState.reason] says why. */
    ENDED,
}

/** Why a call is over. Down to [MAX_DURATION] they are the server's words (docs/protocol.md). */
public enum class EndReason {
    /** The caller took it back while it rang: a missed call. */
    CANCELLED,

    /** One of the two dialled or answered another call. */
    SUPERSEDED,

    /** The caller lost the connection while it rang, and did not come back in time: a missed call. */
    CALLER_GONE,

    /** The callee declined; [CallState.text] may say why. */
    REJECTED,

    /** Nobody answered before the ring was over: a missed call. */
    NO_ANSWER,

    /** The callee talks to somebody else. */
    BUSY,

    /** One of the two hung up. */
    HUNG_UP,

    /** One of the two lost the connection and did not come back in time, or this phone was closed. */
    LOST,

    /** It was as long as the server lets a call be. */
    MAX_DURATION,

    /** Another device of this user answered. */
    ANSWERED_ELSEWHERE,

    /** Another device of this user declined. */
    DECLINED_ELSEWHERE,

    /** Dialled, and no server within 30 s. */
    UNREACHABLE,

    /** The server refused the dial or the answer. */
    FAILED,

    /** A reason that this version does not know. */
    OTHER,
}

/** Why a word was not obeyed. Down to [INTERNAL] they are the server's codes (docs/protocol.md). */
public enum class ErrorCode {
    /** A mistake in the app; the message says which. */
    INVALID_PAYLOAD,

    /** Let the user try again after [SignalingError.retryAfterMs]. */
    RATE_LIMITED,

    /** It is not this user's call, or not his to do. */
    NOT_A_PARTICIPANT,

    /** Close the screen. */
    CALL_NOT_FOUND,

    /** Too late: close the screen. */
    INVALID_STATE,

    /** Let the user try again. */
    UNAVAILABLE,

    /** Let the user try again. */
    INTERNAL,

    /** Say so; where there is [SignalingError.ringingCallId], answer that call instead. */
    BUSY,

    /** Another device has the call: close the screen. */
    ANSWERED_ELSEWHERE,

    /** The other side, or a later word of this user, decided first. */
    OVERTAKEN,

    /** There is no connection. */
    UNREACHABLE,

    /** Ask the user to log in, then call [Phone.connect]. */
    LOGIN_REQUIRED,

    /** A message was not sent: try again later. */
    NOT_CONNECTED,

    /** A message was sent, and nobody knows whether it arrived. */
    UNCONFIRMED,

    /** Hide the button: the server has it switched off. */
    NOT_SUPPORTED,

    /** The phone was closed. */
    CLOSED,
}

/**
 * Why a word was not obeyed, with what belongs to it.
 *
 * @property message for a log, in English
 * @property retryAfterMs with [ErrorCode.RATE_LIMITED]: milliseconds
 * @property ringingCallId with [ErrorCode.BUSY], if the callee is calling this very user: the call to answer instead
 * @property reason with [ErrorCode.INVALID_STATE] and [ErrorCode.OVERTAKEN]: why the call ended
 */
public data class SignalingError @JvmOverloads constructor(
    val code: ErrorCode,
    val message: String,
    val retryAfterMs: Long? = null,
    val ringingCallId: String? = null,
    val reason: EndReason? = null,
)

/**
 * What became of a word. A word never throws.
 *
 * @property error null if the word was obeyed
 * @property devices of a message: devices of the other party that it was handed to
 */
public data class Outcome @JvmOverloads constructor(val error: SignalingError?, val devices: Int? = null) {
    /** Whether the word was obeyed. */
    val isOk: Boolean get() = error == null

    internal companion object {
        val OK = Outcome(null)

        fun failed(code: ErrorCode, message: String) = Outcome(SignalingError(code, message))
    }
}

/** Whether the server is there. */
public enum class LinkStatus {
    /** [Phone.connect] was not called, or [Phone.close] was. */
    IDLE,

    /** On the way there. */
    CONNECTING,

    /** There. */
    READY,

    /** The connection broke or could not be made, which [Phone.log] says why; it comes back by itself. */
    WAITING,

    /** It does not come back by itself; [Link.reason] says why. */
    REFUSED,
}

/** Why the link does not come back by itself. */
public enum class Refusal {
    /** Log in again, then [Phone.connect]. */
    LOGIN,

    /** Sent away: too many sessions of this device, a token that was revoked, or a user who was blocked. */
    DISMISSED,
}

/**
 * Whether the server is there, and why not.
 *
 * @property reason with [LinkStatus.REFUSED]
 * @property tries tries that failed since the last session
 */
public data class Link @JvmOverloads constructor(
    val status: LinkStatus,
    val tries: Int = 0,
    val reason: Refusal? = null,
)

/** What [Phone.handlePush] found. */
public enum class PushOutcome {
    /** A new call: show the ring screen. */
    RINGS,

    /** The call goes on here already. */
    KNOWN,

    /** It stops ringing. */
    CANCELLED,

    /** Sent more than 20 s ago. */
    TOO_OLD,

    /** The call has ended. */
    OVER,

    /** For somebody else to handle. */
    NOT_A_CALL,
}

/**
 * A call as it is at one moment.
 *
 * @property alerting a caller's call: a phone of the callee has confirmed that it rings
 * @property byPush a caller's call: the callee had no connection, and is woken by a push
 * @property restored it was going on when this phone connected, and this process had not heard of it
 * @property acceptedAt with [Phase.ACTIVE]: since when, in the server's milliseconds since the epoch
 * @property reason with [Phase.ENDED]
 * @property text with [Phase.ENDED]: the other's words, where there were any
 * @property durationMs with [Phase.ENDED], after a talk: milliseconds
 * @property callType `AUDIO` or `VIDEO`, which it is now
 * @property videoAsked with [Phase.ACTIVE], while one side waits for the other: [Call.answerVideo] if it is
 *   [Party.PEER] who asks
 */
public data class CallState(
    val phase: Phase,
    val alerting: Boolean,
    val byPush: Boolean,
    val restored: Boolean,
    val acceptedAt: Long?,
    val reason: EndReason?,
    val text: String?,
    val durationMs: Long?,
    val callType: String,
    val videoAsked: VideoAsked?,
)

/**
 * What the other party said within a call.
 *
 * @property data a text, number, boolean, list or map, or null
 * @property timestamp when it was said, by the server's clock: milliseconds since the epoch
 * @property id the sender's own name for it
 * @property kept its sender had it kept
 */
public data class Message @JvmOverloads constructor(
    val senderId: String,
    val data: Any?,
    val timestamp: Long,
    val id: String? = null,
    val kept: Boolean = false,
)

/**
 * One line of the log, without tokens and payloads.
 *
 * @property at milliseconds since the epoch, by this device
 */
public data class LogEntry(val at: Long, val text: String)
