// Generated from web/asyncapi.json by scripts/wire-types.mjs.

/** `USR_USR_1001` is read as `USR_1001`. */
export type UserId = string;

/** `CALL_17` and `17` are one call. An event names it as it was initiated. */
export type CallId = string;

/** `AUDIO` or `VIDEO` in any letter case, passed on unchanged. */
export type CallType = string;

/** The sender's own name for a message: the same again is the same message. */
export type MessageId = string;

/** Milliseconds since the epoch, by the server's clock. */
export type Time = number;

/** Why a call ended; `other` for a reason that only a newer node knows. */
export type ServerReason = 'cancelled' | 'superseded' | 'caller_gone' | 'rejected' | 'no_answer' | 'busy' | 'hung_up' | 'lost' | 'max_duration' | 'other';

/** CallStateName. */
export type CallStateName = 'trying' | 'ringing' | 'active' | 'ended';

/** Milliseconds. */
export type Duration = number;

/** Rises with each message of its sender, over calls and reconnects. */
export type MessageOrder = number;

/** Why an event was refused. */
export type ServerCode = 'invalid_payload' | 'not_a_participant' | 'call_not_found' | 'invalid_state' | 'rate_limited' | 'unavailable';

/** What the CONNECT packet carries. */
export interface Handshake {
  /** Laravel's bearer token. */
  token: string;
  userId: UserId;
  /** The same for every connection of one installation; over 64 bytes of UTF-8 it counts as none. */
  deviceId?: string;
  /** This app acknowledges `call:incoming` at once. */
  acks?: true | 'true' | false | 'false';
  [further: string]: unknown;
}

/** Up to 4 KiB of further fields reach the callee. */
export interface Initiate {
  receiverId: UserId;
  callId: CallId;
  callType: CallType;
  channelName: string;
  agoraToken: string;
  [further: string]: unknown;
}

/** CallOnly. */
export interface CallOnly {
  callId: CallId;
  [further: string]: unknown;
}

/** CallWithReason. */
export interface CallWithReason {
  callId: CallId;
  /** Cut at 200 characters; missing, `""` and `null` are the same. */
  reason?: string | null;
  [further: string]: unknown;
}

/** SendMessage. */
export interface SendMessage {
  callId: CallId;
  /** Any JSON but null, up to 4 KiB. */
  data: unknown;
  /** `true`: told again to a device that joins or returns. */
  keep?: unknown;
  messageId?: MessageId;
  [further: string]: unknown;
}

/** UserIds. */
export interface UserIds {
  userIds: UserId[];
  [further: string]: unknown;
}

/** Whom it concerns is in the call's record; what else the app sends is passed over. */
export interface AskForVideo {
  callId: CallId;
  /** Passed over. */
  receiverId?: unknown;
  /** Passed over. */
  senderId?: unknown;
  /** Passed over. */
  timestamp?: unknown;
  [further: string]: unknown;
}

/** AnswerVideo. */
export interface AnswerVideo {
  callId: CallId;
  /** `true` or `false`, also as text. */
  accepted: unknown;
  /** Why not; `User declined` if nothing is said. */
  reason?: unknown;
  /** Passed over. */
  timestamp?: unknown;
  [further: string]: unknown;
}

/** PastCall. */
export interface PastCall {
  callId: CallId;
  reason: ServerReason;
  endedAt: Time;
}

/** The user's live call. `expiresInMs` only while it rings. */
export interface LiveCall {
  callId: CallId;
  role: 'caller' | 'callee';
  state: CallStateName;
  peerId: UserId;
  callType?: CallType;
  expiresInMs?: Duration;
}

/** Ready. */
export interface Ready {
  sessionId: string;
  serverTime: Time;
  ended: PastCall[];
  call?: LiveCall;
}

/** With the further fields of the initiate. */
export interface Incoming {
  callId: CallId;
  callerId: UserId;
  callerName: string;
  callType: CallType;
  channelName: string;
  agoraToken: string;
  timestamp: Time;
  expiresInMs: Duration;
  [further: string]: unknown;
}

/** Ringing. */
export interface Ringing {
  callId: CallId;
  timestamp: Time;
}

/** Accepted. */
export interface Accepted {
  callId: CallId;
  timestamp: Time;
  receiverId: UserId;
  /** Said once more, for apps without `acks`. */
  repeat?: boolean;
}

/** Told. */
export interface Told {
  callId: CallId;
  /** In words. */
  reason: string;
  timestamp: Time;
}

/** Ended. */
export interface Ended {
  callId: CallId;
  /** In words. */
  reason: string;
  timestamp: Time;
  endedBy?: UserId;
  durationMs?: Duration;
}

/** Timeout. */
export interface Timeout {
  callId: CallId;
  reason: 'No answer';
}

/** AboutCall. */
export interface AboutCall {
  callId: CallId;
}

/** Message. */
export interface Message {
  callId: CallId;
  senderId: UserId;
  /** Any JSON. */
  data: unknown;
  timestamp: Time;
  order?: MessageOrder;
  messageId?: MessageId;
  kept?: true;
}

/** VideoAsked. */
export interface VideoAsked {
  callId: CallId;
  senderId: UserId;
  timestamp: Time;
  expiresInMs: Duration;
}

/** VideoAnswered. */
export interface VideoAnswered {
  callId: CallId;
  accepted: boolean;
  timestamp: Time;
  /** Why not. */
  reason?: string;
}

/** BackToAudio. */
export interface BackToAudio {
  callId: CallId;
  senderId: UserId;
  timestamp: Time;
}

/** Presence. */
export interface Presence {
  userId: UserId;
  timestamp: Time;
}

/** The `data` that Laravel gave. */
export type AppEvent = Record<string, unknown>;

/** It was done. */
export interface Done {
  success: true;
  callId: CallId;
  state: CallStateName;
}

/** It was handed to these. */
export interface MessageHanded {
  success: true;
  callId: CallId;
  state: CallStateName;
  handedTo: {
    userId: UserId;
    devices: number;
  }[];
  order: MessageOrder;
  kept?: true;
  repeat?: true;
}

/** Rings. */
export interface Rings {
  success: true;
  callId: CallId;
  message: 'Call initiated successfully';
}

/** The callee has no session: the call is there, a push has to ring him. */
export interface PushInstead {
  success: false;
  error: string;
  useFcmFallback: true;
}

/** `ringingCallId`: the callee is calling this very user. */
export interface Busy {
  success: false;
  error: string;
  busy: true;
  ringingCallId?: CallId;
}

/** Users. */
export interface Users {
  success: true;
  /** Who is online. */
  users: Record<string, boolean>;
}

/** `state` with `invalid_state`, `reason` if it has ended, `retryAfterMs` with `rate_limited`. */
export interface Refused {
  success: false;
  error: string;
  code: ServerCode;
  state?: CallStateName;
  reason?: ServerReason;
  retryAfterMs?: Duration;
}

/** NotSupported. */
export interface NotSupported {
  success: false;
  error: 'Not supported';
}

/** Bill by `talkMs`. `call.push_required` carries what the ring screen needs besides. */
export interface WebhookCall {
  callerName?: string;
  channelName?: string;
  agoraToken?: string;
  expiresAt?: Time;
  callId: CallId;
  seq: number;
  state: CallStateName;
  callerId: UserId;
  receiverId: UserId;
  callType?: string;
  createdAt: Time;
  ringingAt?: Time;
  acceptedAt?: Time;
  /** The type before, of `call.upgraded` and `call.downgraded`. */
  from?: string;
  /** The type from `at` on. */
  to?: string;
  at?: Time;
  by?: UserId;
  endedAt?: Time;
  reason?: ServerReason;
  /** The sender's words. */
  text?: string;
  durationMs?: Duration;
  talkMs?: Duration;
  /** `talkMs` by `AUDIO`, `VIDEO`, `UNKNOWN`. */
  talkMsByType?: Record<string, Duration>;
  ringMs?: Duration;
  confirmMs?: Duration;
  callerReconnects?: number;
  callerAwayMs?: Duration;
  receiverReconnects?: number;
  receiverAwayMs?: Duration;
  endedBy?: UserId;
  absentSince?: Time;
  [further: string]: unknown;
}

/** What a phone says, and how it is acknowledged. */
export interface PhoneEvents {
  'call:initiate': [Initiate, Rings | PushInstead | Busy | Refused];
  'call:ringing': [CallOnly, Done | Refused];
  'call:accept': [CallOnly, Done | Refused];
  'call:reject': [CallWithReason, Done | Refused];
  'call:cancel': [CallWithReason, Done | Refused];
  'call:end': [CallOnly, Done | Refused];
  'call:message': [SendMessage, MessageHanded | Refused];
  'presence:subscribe': [UserIds, Users | Refused];
  'presence:unsubscribe': [UserIds, Users | Refused];
  'call:upgrade': [AskForVideo, Done | Refused | NotSupported];
  'call:switchToVideo': [AskForVideo, Done | Refused | NotSupported];
  'call:switch_to_video': [AskForVideo, Done | Refused | NotSupported];
  'call:upgrade:response': [AnswerVideo, Done | Refused | NotSupported];
  'call:downgrade': [CallOnly, Done | Refused];
}

/** What a phone hears. */
export interface ServerEvents {
  'session:ready': Ready;
  'call:incoming': Incoming;
  'call:ringing': Ringing;
  'call:accepted': Accepted;
  'call:rejected': Told;
  'call:cancelled': Told;
  'call:ended': Ended;
  'call:timeout': Timeout;
  'call:busy': AboutCall;
  'call:reject:confirmed': AboutCall;
  'call:message': Message;
  'call:upgrade:request': VideoAsked;
  'call:upgrade:response': VideoAnswered;
  'call:downgraded': BackToAudio;
  'user:online': Presence;
  'user:offline': Presence;
  [event: `app:${string}`]: AppEvent;
}
