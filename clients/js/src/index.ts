export { Call, Phone } from './phone.js';
export type { CallOptions, LogEntry, Message, Off, PhoneOptions, SendOptions } from './phone.js';
export type { CallState, EndReason, ErrorCode, Fields, Link, Phase, PushOutcome, Result, Role, SignalingError, VideoAsked } from './types.js';
export type { PhoneEvents, ServerCode, ServerEvents, ServerReason } from './wire.js';
