import type { ServerCode, ServerReason } from './wire.js';

/** A JSON object, as it goes over the wire. */
export type Fields = Record<string, unknown>;

/** Which side of a call this phone is on. */
export type Role = 'caller' | 'callee';

/**
 * Where a call is. It only moves to the right, and `ended` is final.
 *
 * - `calling`: dialled here, and the server has not answered yet.
 * - `ringing`: it rings, there or here.
 * - `answering`: answered here, and the server has not confirmed it yet.
 * - `active`: both are in it.
 * - `ended`: over; `reason` says why.
 */
export type Phase = 'calling' | 'ringing' | 'answering' | 'active' | 'ended';

/**
 * Why a call is over: one of the server's words (`ServerReason`, docs/protocol.md), or found here:
 * `answered_elsewhere` and `declined_elsewhere` (another device of this user), `unreachable` (dialled, and no server
 * within 30 s), `failed` (the server refused the dial or the answer), `other` (a reason that this version does not know).
 */
export type EndReason = ServerReason | 'answered_elsewhere' | 'declined_elsewhere' | 'unreachable' | 'failed';

/**
 * Why a word was not obeyed. Those of `ServerCode` are the server's (docs/protocol.md).
 *
 * | code | what the app does |
 * | --- | --- |
 * | `invalid_payload` | nothing: a mistake in the app, the message says which |
 * | `not_a_participant` | nothing: it is not this user's call, or not his to do |
 * | `call_not_found` | closes the screen |
 * | `invalid_state` | closes the screen: too late |
 * | `rate_limited` | lets the user try again after `retryAfterMs` milliseconds |
 * | `unavailable`, `internal` | lets the user try again |
 * | `busy` | says so; where there is `ringingCallId`, answers that call instead |
 * | `answered_elsewhere` | closes the screen |
 * | `overtaken` | nothing: the other side, or a later word of this user, decided first |
 * | `unreachable` | says that there is no connection |
 * | `login_required` | asks the user to log in, then calls `connect()` |
 * | `not_connected` | a message was not sent: tries again later |
 * | `unconfirmed` | a message was sent, and nobody knows whether it arrived |
 * | `not_supported` | hides the button: the server has it switched off |
 * | `closed` | nothing: the phone was closed |
 */
export type ErrorCode =
  | ServerCode | 'internal' | 'busy' | 'answered_elsewhere' | 'overtaken' | 'unreachable' | 'login_required' | 'not_connected'
  | 'unconfirmed' | 'not_supported' | 'closed';

/** Why a word was not obeyed, with what belongs to it. */
export interface SignalingError {
  /** What the app decides by. */
  code: ErrorCode;
  /** For a log, in English. */
  message: string;
  /** With `rate_limited`: milliseconds. */
  retryAfterMs?: number;
  /** With `busy`, if the callee is calling this very user: the call to answer instead. */
  ringingCallId?: string;
  /** With `invalid_state`: why the call had ended. */
  reason?: EndReason;
}

/** What became of a word. A word never throws. */
export type Result = { ok: true; /** Of a message: devices of the other party that it was handed to. */ devices?: number } | { ok: false; error: SignalingError };

/**
 * Whether the server is there.
 *
 * - `idle`: `connect()` was not called, or `close()` was.
 * - `connecting`, `ready`.
 * - `waiting`: the connection broke or could not be made; it comes back by itself.
 * - `refused`: it does not come back by itself; `reason` says why.
 */
export interface Link {
  /** One of the above. */
  status: 'idle' | 'connecting' | 'ready' | 'waiting' | 'refused';
  /**
   * With `refused`: `login` (log in again, then `connect()`), `dismissed` (sent away: too many sessions of this device,
   * a token that was revoked, or a user who was blocked; `connect()` if the user wants it).
   */
  reason?: 'login' | 'dismissed';
  /** With `waiting`: tries that failed since the last session. */
  tries: number;
}

/** What `handlePush` found: `rings` (a new call: show the ring screen), `known`, `cancelled` (it stops ringing),
 * `too_old`, `over` (the call has ended), `not_a_call`. */
export type PushOutcome = 'rings' | 'known' | 'cancelled' | 'too_old' | 'over' | 'not_a_call';

/** Somebody asks for video, and has no answer yet. */
export interface VideoAsked {
  /** `peer`: the app shows the question, and says `answerVideo`. */
  by: 'me' | 'peer';
  /** Until when it can be answered, in the server's milliseconds since the epoch. */
  until: number;
}

/** A call as it is at one moment. */
export interface CallState {
  /** Where it is, from `calling` or `ringing` to `ended`. */
  phase: Phase;
  /** `AUDIO` or `VIDEO`: an accepted call may change it. */
  callType: string;
  /** Whether somebody asks for video. With `me`: it becomes null with `callType` `VIDEO` for a yes, and without for a no. */
  videoAsked: VideoAsked | null;
  /** A caller's call: a phone of the callee has confirmed that it rings. */
  alerting: boolean;
  /** A caller's call: the callee had no connection, and is woken by a push. */
  byPush: boolean;
  /** It was going on when this phone connected, and this process had not heard of it. */
  restored: boolean;
  /** With `active`: since when, in the server's milliseconds since the epoch. */
  acceptedAt?: number;
  /** With `ended`. */
  reason?: EndReason;
  /** With `ended`: the other's words, where there were any. */
  text?: string;
  /** With `ended`, after a talk: milliseconds. */
  durationMs?: number;
}
