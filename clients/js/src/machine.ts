// The state machine of a phone: docs/client.md. Kotlin's Machine.kt is this file in another language; clients/vectors
// holds both to the same behaviour. Nothing here knows a socket, a clock or a random number: they come with the input.
import type { EndReason, ErrorCode, Fields, Link, Phase, PushOutcome, Result, Role, SignalingError, VideoAsked } from './types.js';
import type { PhoneEvents, ServerCode, ServerEvents, ServerReason } from './wire.js';

export const CONSTANTS = {
  ACK_MS: 5_000,
  CONNECT_MS: 30_000,
  OPEN_MS: 8_000,
  DIAL_MS: 30_000,
  PROBE_MS: 5_000,
  RING_MS: 30_000,
  RING_GRACE_MS: 3_000,
  RING_MAX_MS: 185_000,
  VIDEO_MS: 30_000,
  MISSING_MS: 3_000,
  RESTORED_MS: 60_000,
  PUSH_AGE_MS: 20_000,
  RETRY_MS: 1_000,
  RETRY_MAX_MS: 8_000,
  RESUME_MS: 2_000,
  RECONNECT_MS: 1_000,
  RECONNECT_MAX_MS: 10_000,
  CLOCK_STEP_MS: 2_000,
  CLOCK_SAMPLES: 8,
  CALLS_KEPT: 64,
  WATCHED: 500,
  MESSAGES: 64,
} as const;
const C = CONSTANTS;

export type Command = 'call' | 'answer' | 'decline' | 'cancel' | 'hangUp';

/** Words about video: one at a time, beside the others, so that whatever ends the call need not wait for it. */
export type VideoCommand = 'askVideo' | 'answerVideo' | 'toAudio';

/** A word that the server has not answered yet. */
export interface Pending<C = Command> {
  command: C;
  payload: Fields;
  requests: number[];
  tries: number;
}

export interface CallRecord {
  id: string;
  key: string;
  role: Role;
  peer: string;
  /** The type of now. */
  callType: string;
  /** The type as it was dialled: a second tap is told by it. */
  dialledType: string;
  videoAsked: VideoAsked | null;
  phase: Phase;
  fields: Fields;
  alerting: boolean;
  byPush: boolean;
  restored: boolean;
  /** The server has spoken of it. */
  known: boolean;
  /** 1: a session should have named it and did not. 2: the server could answer about it since, and the next is to name it. */
  missing: number;
  acceptedAt?: number;
  reason?: EndReason;
  text?: string;
  durationMs?: number;
  pending?: Pending;
  video?: Pending<VideoCommand>;
  /** The order of the last message heard. */
  heard?: number;
}

/** A message that the server has not answered yet. */
export interface Said {
  request: number;
  key: string;
  payload: Fields;
  /** It is said until the server has answered; others once. */
  keep: boolean;
  tries: number;
}

export interface State {
  link: Link;
  /** When the last attempt to connect began. */
  since: number;
  /** `resume()` came when it had just begun. */
  resumed: boolean;
  /** How long an attempt may take until its transport is open. */
  openMs: number;
  userId: string;
  calls: CallRecord[];
  watched: string[];
  online: Record<string, boolean>;
  /** Subscriptions of this session that came to nothing, one after the other. */
  watchTries: number;
  /** All are to be subscribed to again, whatever other subscriptions bring meanwhile. */
  watchAgain: boolean;
  /** Server's clock minus this device's, one of each session. */
  clock: number[];
  /** Messages in the order of the app: the first is under way, the others wait for it. */
  messages: Said[];
}

/** `fault`: why the payload can't be sent. `timedOut`: the transport was not open in time. */
export type Input =
  | { type: 'start' } | { type: 'stop' } | { type: 'resume' }
  | { type: 'connected' } | { type: 'refused'; message: string } | { type: 'closed'; dismissed: boolean; timedOut?: true } | { type: 'noToken' }
  | { type: 'event'; name: string; data: unknown }
  | { type: 'ack'; command: string; key: string; try: number; ack: unknown }
  | { type: 'unanswered'; command: string; key: string; try: number }
  | { type: 'call'; request: number; callId: string; peer: string; callType: string; fields: Fields; fault?: string }
  | { type: 'answer' | 'hangUp'; request: number; callId: string }
  | { type: 'decline' | 'cancel'; request: number; callId: string; reason?: string }
  | { type: 'askVideo' | 'toAudio'; request: number; callId: string }
  | { type: 'answerVideo'; request: number; callId: string; accepted: boolean }
  | { type: 'message'; request: number; callId: string; data: unknown; keep?: boolean; messageId?: string; fault?: string }
  | { type: 'watch' | 'unwatch'; users: string[] }
  | { type: 'push'; request: number; data: unknown }
  | { type: 'timer'; name: string };

/** `now` is this device's clock in milliseconds since the epoch, `random` lies in [0, 1). */
export type Timed = Input & { now: number; random: number };

export type Effect =
  | { type: 'connect'; openMs: number } | { type: 'disconnect' }
  | { type: 'timer'; name: string; ms: number }
  | { type: 'send'; command: string; key: string; try: number; event: keyof PhoneEvents; payload: Fields }
  | { type: 'resolve'; request: number; result: Result }
  | { type: 'dialled'; request: number; callId: string }
  | { type: 'pushed'; request: number; outcome: PushOutcome }
  | { type: 'incoming'; callId: string } | { type: 'restored'; callId: string }
  | { type: 'message'; callId: string; senderId: string; data: unknown; timestamp: number; messageId?: string; kept?: true }
  | { type: 'presence'; userId: string; online: boolean }
  | { type: 'app'; name: string; data: Fields };

export function initial(userId: string): State {
  return { link: { status: 'idle', tries: 0 }, since: 0, resumed: false, openMs: C.OPEN_MS, userId, calls: [], watched: [], online: {}, watchTries: 0, watchAgain: false, clock: [], messages: [] };
}

/** What `input` makes of `before`, and what is to be done about it. Changes nothing else. */
export function step(before: State, input: Timed): [State, Effect[]] {
  const state: State = {
    ...before,
    link: { ...before.link },
    calls: before.calls.map((call) => ({
      ...call, ...(call.pending ? { pending: copyOf(call.pending) } : {}), ...(call.video ? { video: copyOf(call.video) } : {}),
    })),
    watched: [...before.watched],
    online: { ...before.online },
    clock: [...before.clock],
    messages: before.messages.map((message) => ({ ...message })),
  };
  const machine = new Machine(state, input.now, input.random);
  machine.take(input);
  return [machine.state, machine.effects];
}

function copyOf<C>(pending: Pending<C>): Pending<C> {
  return { ...pending, requests: [...pending.requests] };
}

/** `CALL_17`, `CALL_CALL_17` and `17` are one call. */
export function keyOf(callId: string): string {
  let key = callId;
  while (key.startsWith('CALL_') && key.length > 5) key = key.slice(5);
  return key;
}

/** The server's clock minus this device's, in milliseconds: of the samples, the one that was under way for the shortest
 * time. 0 before the first session. */
export function clockOffset(clock: number[]): number {
  return clock.length ? Math.max(...clock) : 0;
}

/** What the server reads as the id of a user. */
const ID = /^[A-Za-z0-9_.:-]{1,64}$/;
const EVENT_OF: Record<Command | VideoCommand, keyof PhoneEvents> = {
  call: 'call:initiate', answer: 'call:accept', decline: 'call:reject', cancel: 'call:cancel', hangUp: 'call:end',
  askVideo: 'call:upgrade', answerVideo: 'call:upgrade:response', toAudio: 'call:downgrade',
};
const REASONS: ServerReason[] = ['cancelled', 'superseded', 'caller_gone', 'rejected', 'no_answer', 'busy', 'hung_up', 'lost', 'max_duration'];
const CODES: ServerCode[] = ['invalid_payload', 'rate_limited', 'not_a_participant', 'call_not_found', 'invalid_state', 'unavailable'];
/** Maps, as the other side's own words are looked up as well: an object knows `constructor`. */
const CANCEL_REASONS = new Map<string | undefined, EndReason>([
  ['Timeout', 'no_answer'], ['User disconnected', 'caller_gone'], ['Answered elsewhere', 'answered_elsewhere'],
  ['Declined elsewhere', 'declined_elsewhere'],
]);
const END_REASONS = new Map<string | undefined, EndReason>([['User disconnected', 'lost'], ['Maximum duration reached', 'max_duration']]);

class Machine {
  readonly effects: Effect[] = [];

  constructor(readonly state: State, private readonly now: number, private readonly random: number) {}

  take(input: Input): void {
    switch (input.type) {
      case 'start': return this.start();
      case 'stop': return this.stop();
      case 'resume': return this.resume();
      case 'connected': return;
      case 'refused': return this.refused(input.message);
      case 'closed': return this.closed(input.dismissed, input.timedOut);
      case 'noToken': return this.link('refused', 'login');
      case 'event': return this.event(input.name, fieldsOf(input.data));
      case 'ack': return this.ack(input.command, input.key, input.try, fieldsOf(input.ack));
      case 'unanswered': return this.unanswered(input.command, input.key, input.try);
      case 'call': return this.call(input.request, input.callId, input.peer, input.callType, input.fields, input.fault);
      case 'answer': return this.answer(input.request, input.callId);
      case 'decline': return this.decline(input.request, input.callId, input.reason);
      case 'cancel': return this.cancel(input.request, input.callId, input.reason);
      case 'hangUp': return this.hangUp(input.request, input.callId);
      case 'askVideo': return this.askVideo(input.request, input.callId);
      case 'answerVideo': return this.answerVideo(input.request, input.callId, input.accepted);
      case 'toAudio': return this.toAudio(input.request, input.callId);
      case 'message': return this.message(input.request, input.callId, input.data, input.keep === true, input.messageId, input.fault);
      case 'watch': return this.watch(input.users);
      case 'unwatch': return this.unwatch(input.users);
      case 'push': return this.push(input.request, fieldsOf(input.data));
      case 'timer': return this.timer(input.name);
    }
  }

  // ---- the connection

  private start(): void {
    const { status } = this.state.link;
    if (status === 'idle' || status === 'refused') {
      this.state.link = { status: 'idle', tries: 0 };
      this.connect();
    } else if (status === 'waiting') {
      this.connect();
    }
  }

  private stop(): void {
    this.link('idle');
    this.effects.push({ type: 'disconnect' });
    const messages = this.state.messages.splice(0);
    for (const call of this.state.calls) {
      const { pending } = call;
      this.settle(call, failed('closed', 'the phone was closed'));
      this.settleVideo(call, failed('closed', 'the phone was closed'));
      if (call.phase !== 'ended') this.end(call, 'lost');
      // What ended it is said all the same, should there be a next session: the other side would talk to nobody.
      else if (pending) call.pending = { ...pending, requests: [] };
    }
    for (const { request } of messages) this.resolve(request, failed('closed', 'the phone was closed'));
  }

  /** The network changed or the app is back: no waiting, and no trust in a socket that was left alone. */
  private resume(): void {
    const { status } = this.state.link;
    if (status === 'waiting') {
      this.state.link.tries = 0;
      this.connect();
    } else if (status === 'connecting') {
      // It may be tried over a network that is gone.
      if (this.now - this.state.since > C.RESUME_MS) return this.connectAnew();
      if (!this.state.resumed) this.effects.push({ type: 'timer', name: 'resume', ms: C.PROBE_MS });
      this.state.resumed = true;
    } else if (status === 'ready') {
      this.effects.push({ type: 'send', command: 'probe', key: '', try: 0, event: 'presence:subscribe', payload: { userIds: [] } });
    }
  }

  private connectAnew(): void {
    this.effects.push({ type: 'disconnect' });
    this.state.link.tries = 0;
    this.connect();
  }

  private connect(): void {
    this.link('connecting');
    this.state.since = this.now;
    this.state.resumed = false;
    this.effects.push({ type: 'connect', openMs: this.state.openMs }, { type: 'timer', name: 'connect', ms: C.CONNECT_MS });
  }

  private link(status: Link['status'], reason?: Link['reason']): void {
    this.state.link = { status, tries: this.state.link.tries, ...(reason ? { reason } : {}) };
  }

  private refused(message: string): void {
    const final = ['Invalid token', 'Authentication required', 'Authentication failed'].includes(message);
    if (!final) return this.closed(false);
    this.link('refused', 'login');
    this.lostMessages();
  }

  private closed(dismissed: boolean, timedOut = false): void {
    const { status, tries } = this.state.link;
    if (status === 'idle' || status === 'refused' || status === 'waiting') return;
    // It may be the round trips that are long, and not the server that is away.
    if (timedOut) this.state.openMs = Math.min(C.CONNECT_MS, 2 * this.state.openMs);
    this.lostMessages();
    if (dismissed) return this.link('refused', 'dismissed');
    const most = Math.min(C.RECONNECT_MAX_MS, C.RECONNECT_MS * 2 ** Math.min(tries, 10));
    this.state.link = { status: 'waiting', tries: tries + 1 };
    this.effects.push({ type: 'timer', name: 'reconnect', ms: Math.round(most / 2 + (this.random * most) / 2) });
  }

  /** Ends a connection that does not answer. */
  private drop(): void {
    this.effects.push({ type: 'disconnect' });
    this.closed(false);
  }

  private timer(name: string): void {
    const { status } = this.state.link;
    if (name === 'reconnect' && status === 'waiting') return this.connect();
    if (name === 'connect' && status === 'connecting') return this.drop();
    if (name === 'resume' && status === 'connecting' && this.state.resumed) return this.connectAnew();
    if (name.startsWith('message:')) return this.messageAgain(name.slice(8));
    if (name === 'watch') return this.watchAll();
    const colon = name.indexOf(':');
    const call = colon < 0 ? undefined : this.find(name.slice(colon + 1));
    if (!call) return;
    switch (name.slice(0, colon)) {
      case 'retry':
        this.send(call, call.pending);
        return;
      case 'video':
        return this.send(call, call.video);
      case 'asked':
        if (call.video?.command !== 'askVideo') call.videoAsked = null;
        return;
      case 'dial':
        if (call.phase === 'calling') this.unreachable(call);
        return;
      case 'ring':
        return this.rungOut(call);
      case 'restored':
        return this.askOfRestored(call);
      case 'missing':
        if (call.missing && call.phase !== 'ended' && status === 'ready') this.confirm(call);
        return;
    }
  }

  /** The server's own word did not come: what it may believe otherwise it is told. */
  private rungOut(call: CallRecord): void {
    if (call.phase !== 'ringing' && call.phase !== 'answering') return;
    if (call.role === 'caller') return this.endWith(call, 'no_answer', 'cancel');
    const answered = call.phase === 'answering' && !this.unsaid(call);
    if (answered) return this.endWith(call, 'no_answer', this.leaving(call));
    this.end(call, 'no_answer');
  }

  // ---- words of the app

  private call(request: number, callId: string, peer: string, callType: string, fields: Fields, fault?: string): void {
    const twin = this.find(keyOf(callId)) ??
      this.state.calls.find((call) => call.role === 'caller' && !call.restored && call.phase !== 'ended' && call.peer === peer && call.dialledType === callType);
    if (twin) {
      this.effects.push({ type: 'dialled', request, callId: twin.id });
      if (twin.pending?.command === 'call') twin.pending.requests.push(request);
      else this.resolve(request, twin.role === 'caller' && twin.phase !== 'ended' ? { ok: true } : tooLate(twin));
      return;
    }
    const payload = { ...fields, receiverId: peer, callId, callType };
    const call: CallRecord = {
      id: callId, key: keyOf(callId), role: 'caller', peer, callType, dialledType: callType, videoAsked: null, phase: 'calling', fields,
      alerting: false, byPush: false, restored: false, known: false, missing: 0,
    };
    this.effects.push({ type: 'dialled', request, callId });
    if (fault) {
      this.keep(call);
      this.resolve(request, failed('invalid_payload', fault));
      return this.end(call, 'failed');
    }
    this.leaveOthers(call);
    this.keep(call);
    const { status } = this.state.link;
    if (status === 'idle' || status === 'refused') {
      this.resolve(request, status === 'idle' ? failed('unreachable', 'connect() was not called') : failed('login_required', 'log in again'));
      return this.end(call, 'unreachable');
    }
    this.effects.push({ type: 'timer', name: `dial:${call.key}`, ms: C.DIAL_MS });
    this.say(call, 'call', payload, request);
  }

  private answer(request: number, callId: string): void {
    const call = this.find(keyOf(callId));
    if (!call) return this.resolve(request, failed('call_not_found', 'no such call'));
    if (call.role === 'caller') return this.resolve(request, failed('not_a_participant', 'a caller has nothing to answer'));
    if (call.phase === 'ended') return this.resolve(request, tooLate(call));
    if (call.pending?.command === 'answer') {
      call.pending.requests.push(request);
      return;
    }
    if (call.phase === 'active' && !call.restored) return this.resolve(request, { ok: true });
    this.leaveOthers(call);
    if (call.phase === 'ringing') call.phase = 'answering';
    this.say(call, 'answer', { callId: call.id }, request);
  }

  private decline(request: number, callId: string, reason?: string): void {
    const call = this.find(keyOf(callId));
    if (call?.role === 'caller') return this.resolve(request, failed('not_a_participant', 'a caller cancels or hangs up'));
    this.leave(request, call, reason);
  }

  private cancel(request: number, callId: string, reason?: string): void {
    const call = this.find(keyOf(callId));
    if (call?.role === 'callee') return this.resolve(request, failed('not_a_participant', 'a callee declines or hangs up'));
    this.leave(request, call, reason);
  }

  private hangUp(request: number, callId: string): void {
    this.leave(request, this.find(keyOf(callId)), undefined);
  }

  /** This user is done with the call: its screen closes now, the server hears of it until it answers. */
  private leave(request: number, call: CallRecord | undefined, text: string | undefined): void {
    if (!call) return this.resolve(request, failed('call_not_found', 'no such call'));
    if (call.phase === 'ended') {
      if (!call.pending) this.resolve(request, { ok: true });
      else if (this.state.link.status === 'idle') this.resolve(request, failed('closed', 'the phone was closed'));
      else call.pending.requests.push(request);
      return;
    }
    if (!this.isRinging(call)) return this.endWith(call, 'hung_up', this.leaving(call), undefined, request);
    if (call.role === 'callee') return this.endWith(call, 'rejected', 'decline', text, request);
    if (this.unsaid(call)) {
      this.end(call, 'cancelled');
      return this.resolve(request, { ok: true });
    }
    this.endWith(call, 'cancelled', 'cancel', text, request);
  }

  private endWith(call: CallRecord, reason: EndReason, command: Command, text?: string, request?: number): void {
    this.end(call, reason);
    this.say(call, command, { callId: call.id, ...(text ? { reason: text } : {}) }, request);
  }

  /** A phone is in one call: whichever is dialled or answered ends the others. But not another device's, and not the
   * ring of the very user who is dialled: the server answers busy and names it. */
  private leaveOthers(call: CallRecord): void {
    for (const other of this.state.calls) {
      if (other === call || other.phase === 'ended' || (other.restored && other.phase === 'active')) continue;
      if (call.phase === 'calling' && other.role === 'callee' && other.peer === call.peer && this.isRinging(other)) continue;
      if (other.role === 'caller' && this.unsaid(other)) this.end(other, 'superseded');
      else this.endWith(other, 'superseded', !this.isRinging(other) ? this.leaving(other) : other.role === 'callee' ? 'decline' : 'cancel');
    }
  }

  /** Whether the server can take it for ringing at most. */
  private isRinging(call: CallRecord): boolean {
    return call.phase === 'calling' || call.phase === 'ringing' || (call.phase === 'answering' && this.unsaid(call));
  }

  /** The word that leaves a call that may be accepted. Before the server has confirmed the answer another device of this user
   * may be the one that talks: `call:reject` leaves that one alone, `call:end` ends its call. */
  private leaving(call: CallRecord): Command {
    return call.phase === 'answering' ? 'decline' : 'hangUp';
  }

  /** Its word never left this phone. */
  private unsaid(call: CallRecord): boolean {
    return call.pending?.tries === 0;
  }

  private unreachable(call: CallRecord): void {
    const sent = !this.unsaid(call);
    this.settle(call, failed('unreachable', 'no answer of the server in time'));
    this.end(call, 'unreachable');
    if (sent) this.say(call, 'cancel', { callId: call.id });
  }

  /** The call that a word about video is of, if it can be said now; else the word is answered. Of two at once the same one
   * is one, and another has to wait: what the server did of the first decides what the second means. */
  private inVideo(request: number, callId: string, command: VideoCommand, accepted?: boolean): CallRecord | undefined {
    const call = this.find(keyOf(callId));
    if (!call) this.resolve(request, failed('call_not_found', 'no such call'));
    else if (call.phase === 'ended') this.resolve(request, tooLate(call));
    else if (call.phase !== 'active') this.resolve(request, failed('invalid_state', 'the call is not accepted yet'));
    else if (!call.video) return call;
    else if (call.video.command === command && call.video.payload.accepted === accepted) call.video.requests.push(request);
    else this.resolve(request, failed('invalid_state', 'another word about video is under way'));
    return undefined;
  }

  private askVideo(request: number, callId: string): void {
    const call = this.inVideo(request, callId, 'askVideo');
    if (!call) return;
    if (isVideo(call) || call.videoAsked?.by === 'me') return this.resolve(request, { ok: true });
    call.videoAsked = { by: 'me', until: this.serverNow() + C.VIDEO_MS };
    this.sayVideo(call, 'askVideo', { callId: call.id }, request);
  }

  private answerVideo(request: number, callId: string, accepted: boolean): void {
    const call = this.inVideo(request, callId, 'answerVideo', accepted);
    if (!call) return;
    if (call.videoAsked?.by !== 'peer') {
      return this.resolve(request, accepted && isVideo(call) ? { ok: true } : failed('invalid_state', 'nobody asks for video'));
    }
    call.videoAsked = null;
    this.sayVideo(call, 'answerVideo', { callId: call.id, accepted }, request);
  }

  private toAudio(request: number, callId: string): void {
    const call = this.inVideo(request, callId, 'toAudio');
    if (!call) return;
    if (isVideo(call)) return this.sayVideo(call, 'toAudio', { callId: call.id }, request);
    const asks = call.videoAsked?.by === 'me';
    this.resolve(request, asks ? failed('invalid_state', 'a request for video is not taken back') : { ok: true });
  }

  private message(request: number, callId: string, data: unknown, keep: boolean, messageId?: string, fault?: string): void {
    const call = this.find(keyOf(callId));
    if (!call) return this.resolve(request, failed('call_not_found', 'no such call'));
    if (call.phase === 'ended') return this.resolve(request, tooLate(call));
    if (fault) return this.resolve(request, failed('invalid_payload', fault));
    if (!keep && this.state.link.status !== 'ready') return this.resolve(request, failed('not_connected', 'nothing was sent'));
    if (this.state.messages.length >= C.MESSAGES) return this.resolve(request, failed('rate_limited', 'too many messages wait'));
    const payload = { callId: call.id, data, ...(keep ? { keep } : {}), ...(messageId ? { messageId } : {}) };
    this.state.messages.push({ request, key: call.key, payload, keep, tries: 0 });
    if (this.state.messages.length === 1) this.sendMessage();
  }

  /** One after the other, so that the order stays what it is whatever has to be said again. */
  private sendMessage(): void {
    const message = this.state.messages[0];
    if (!message || this.state.link.status !== 'ready') return;
    const call = this.find(message.key);
    if (call?.phase === 'ended') return this.messageDone(tooLate(call));
    message.tries += 1;
    const { key, request, payload } = message;
    this.effects.push({ type: 'send', command: 'message', key, try: request, event: 'call:message', payload });
  }

  private watch(users: string[]): void {
    // One that is no id, and the server would refuse them all, in every session.
    const more = users.filter((user, at) => typeof user === 'string' && ID.test(user) && users.indexOf(user) === at && !this.state.watched.includes(user));
    const fit = more.slice(0, Math.max(0, C.WATCHED - this.state.watched.length));
    this.state.watched.push(...fit);
    if (fit.length && this.state.link.status === 'ready') this.sendPresence('watch', 'presence:subscribe', fit);
  }

  /** Says again what was refused for a while, or not answered. */
  private watchAll(): void {
    if (!this.state.watchAgain || this.state.link.status !== 'ready') return;
    this.state.watchAgain = false;
    if (this.state.watched.length) this.sendPresence('watch', 'presence:subscribe', this.state.watched);
  }

  private watchAnswered(ack: Fields | undefined): void {
    if (ack?.success === true) {
      this.state.watchTries = 0;
      return this.present(fieldsOf(ack.users));
    }
    this.state.watchTries += 1;
    const error: SignalingError = ack ? errorOf(ack) : { code: 'unavailable', message: 'no answer' };
    const again = this.waitBefore(error, this.state.watchTries, false);
    if (again === undefined) return;
    this.state.watchAgain = true;
    this.effects.push({ type: 'timer', name: 'watch', ms: again });
  }

  private unwatch(users: string[]): void {
    const gone = this.state.watched.filter((user) => users.includes(user));
    this.state.watched = this.state.watched.filter((user) => !users.includes(user));
    for (const user of gone) delete this.state.online[user];
    if (gone.length && this.state.link.status === 'ready') this.sendPresence('unwatch', 'presence:unsubscribe', gone);
  }

  private sendPresence(command: string, event: keyof PhoneEvents, userIds: string[]): void {
    this.effects.push({ type: 'send', command, key: '', try: 0, event, payload: { userIds } });
  }

  // ---- a word and its answer

  private say(call: CallRecord, command: Command, payload: Fields, request?: number): void {
    // A later word takes the place of an earlier one.
    this.settle(call, failed('overtaken', `overtaken by ${command}`));
    call.pending = { command, payload, requests: request === undefined ? [] : [request], tries: 0 };
    this.send(call, call.pending);
  }

  private send(call: CallRecord, said: CallRecord['pending'] | CallRecord['video']): void {
    if (!said || this.state.link.status !== 'ready') return;
    said.tries += 1;
    const { command, tries, payload } = said;
    this.effects.push({ type: 'send', command, key: call.key, try: tries, event: EVENT_OF[command], payload });
  }

  private sayVideo(call: CallRecord, command: VideoCommand, payload: Fields, request: number): void {
    call.video = { command, payload, requests: [request], tries: 0 };
    this.send(call, call.video);
  }

  private videoAnswered(call: CallRecord, video: Pending<VideoCommand>, ack: Fields): void {
    const error = ack.success === true ? undefined : errorOf(ack);
    const again = error && this.waitBefore(error, video.tries, false);
    if (again !== undefined) {
      this.effects.push({ type: 'timer', name: `video:${call.key}`, ms: again });
      return;
    }
    this.settleVideo(call, error ? { ok: false, error } : { ok: true });
    if (video.command !== 'askVideo') {
      if (!error && video.command === 'toAudio') this.typed(call, 'AUDIO');
      else if (!error && video.payload.accepted === true) this.typed(call, 'VIDEO');
    } else if (error) {
      call.videoAsked = null;
    } else {
      call.videoAsked = { by: 'me', until: this.serverNow() + C.VIDEO_MS };
      // The server answers in any case, when it says so: this is for a server that forgot.
      this.effects.push({ type: 'timer', name: `asked:${call.key}`, ms: C.RING_MAX_MS });
    }
  }

  /** The call is of this type now: a word that wanted it has its answer. */
  private typed(call: CallRecord, callType: string): void {
    call.callType = callType;
    const { command, payload } = call.video ?? {};
    if (isVideo(call)) call.videoAsked = null;
    if (isVideo(call) ? command === 'askVideo' || payload?.accepted === true : command === 'toAudio') this.settleVideo(call, { ok: true });
  }

  private unanswered(command: string, key: string, number: number): void {
    if (command === 'probe' && this.state.link.status === 'ready') return this.drop();
    if (command === 'watch') return this.watchAnswered(undefined);
    if (command === 'message') return this.messageUnanswered(number);
    const call = this.find(key);
    if (call && command === 'confirm' && call.missing) this.effects.push({ type: 'timer', name: `missing:${key}`, ms: C.MISSING_MS });
    if (call?.pending?.command === command && call.pending.tries === number) this.send(call, call.pending);
    if (call?.video?.command === command && call.video.tries === number) this.send(call, call.video);
  }

  private ack(command: string, key: string, number: number, ack: Fields): void {
    if (command === 'watch') return this.watchAnswered(ack);
    if (command === 'message') return this.messageAnswered(number, ack);
    const call = this.find(key);
    if (!call) return;
    if (command === 'confirm') return this.confirmed(call, ack);
    if (call.video?.command === command) return this.videoAnswered(call, call.video, ack);
    if (call.pending?.command !== command) return;
    if (command === 'call') return this.dialAnswered(call, ack);
    const error = ack.success === true ? undefined : errorOf(ack);
    const again = error && this.waitBefore(error, call.pending.tries, this.mayComeYet(call));
    if (again !== undefined) {
      this.effects.push({ type: 'timer', name: `retry:${call.key}`, ms: again });
    } else if (command !== 'answer') {
      // The call is over for this user, whatever had become of it.
      this.settle(call, error?.code === 'invalid_payload' ? { ok: false, error } : { ok: true });
    } else if (!error) {
      this.heardOf(call).restored = false;
      this.settle(call, { ok: true });
      if (call.phase === 'answering') this.activate(call, this.serverNow());
    } else if (error.code === 'invalid_state' && ack.state === 'active') {
      this.settle(call, failed('answered_elsewhere', 'another device has the call'));
      this.end(call, 'answered_elsewhere');
    } else {
      this.settle(call, { ok: false, error });
      this.end(call, error.reason ?? (error.code === 'invalid_state' ? 'other' : 'failed'));
    }
  }

  /** Milliseconds until the word is said again, if it is to be. */
  private waitBefore(error: SignalingError, tries: number, mayComeYet: boolean): number | undefined {
    const pause = Math.min(C.RETRY_MAX_MS, C.RETRY_MS * 2 ** Math.min(tries - 1, 10));
    if (error.code === 'rate_limited') return Math.max(error.retryAfterMs ?? 0, pause);
    if (error.code === 'unavailable' || error.code === 'internal') return pause;
    return error.code === 'call_not_found' && mayComeYet ? pause : undefined;
  }

  /** The answer to a push may be here before the call is. */
  private mayComeYet(call: CallRecord): boolean {
    return call.pending?.command === 'answer' && !call.known && call.phase === 'answering';
  }

  private dialAnswered(call: CallRecord, ack: Fields): void {
    if (ack.success === true || ack.useFcmFallback === true) {
      this.heardOf(call);
      call.byPush = ack.useFcmFallback === true;
      if (call.phase === 'calling') this.rings(call);
      return this.dialled(call);
    }
    const error = errorOf(ack);
    // Whatever the server said: an earlier one may have been heard, and one whose outcome it does not know may be written.
    const mayRing = error.code === 'unavailable' || error.code === 'internal' || (error.code === 'rate_limited' && call.pending!.tries > 1);
    this.settle(call, { ok: false, error });
    this.end(call, error.code === 'busy' ? 'busy' : (error.reason ?? 'failed'));
    if (mayRing) this.say(call, 'cancel', { callId: call.id });
  }

  /** The line of this user is the dialled call's now: what else was known is over, and not everybody is told so. */
  private dialled(call: CallRecord): void {
    this.settle(call, { ok: true });
    for (const other of this.state.calls) {
      if (other !== call && other.known && other.phase !== 'ended') this.end(other, 'superseded');
    }
  }

  private rings(call: CallRecord): void {
    call.phase = 'ringing';
    this.effects.push({ type: 'timer', name: `ring:${call.key}`, ms: C.RING_MAX_MS });
  }

  private confirm(call: CallRecord): void {
    this.effects.push({ type: 'send', command: 'confirm', key: call.key, try: 0, event: 'call:ringing', payload: { callId: call.id } });
  }

  /** A call that may be another device's: its end is told to that one and to the other side. */
  private askOfRestored(call: CallRecord): void {
    if (!call.restored || call.phase === 'ended') return;
    if (call.phase === 'active' && this.state.link.status === 'ready') this.confirm(call);
    this.effects.push({ type: 'timer', name: `restored:${call.key}`, ms: C.RESTORED_MS });
  }

  /** `unavailable` is the answer of a store that is away, or has not got back what it lost. After any other the next session
   * has to name the call; where it does not, and the store is still there, it is believed lost. */
  private confirmed(call: CallRecord, ack: Fields): void {
    if (call.phase === 'ended') return;
    const { code, reason }: Partial<SignalingError> = ack.success === true ? {} : errorOf(ack);
    if (code === 'invalid_state' && ack.state === 'ended') return this.end(call, reason ?? 'other');
    if (!call.missing) {
      // A caller is `not_a_participant` here, alive or not; when the server has forgotten the call he is told.
      if (call.restored && code === 'call_not_found') this.end(call, 'lost');
      return;
    }
    if (code === 'unavailable' || code === 'internal' || code === 'rate_limited') {
      call.missing = 1;
      this.effects.push({ type: 'timer', name: `missing:${call.key}`, ms: C.MISSING_MS });
      return;
    }
    if (call.missing === 2) return this.end(call, 'lost');
    call.missing = 2;
    this.drop();
  }

  private messageAnswered(request: number, ack: Fields): void {
    const message = this.state.messages[0];
    if (message?.request !== request) return;
    if (ack.success !== true) {
      const error = errorOf(ack);
      const again = message.keep ? this.waitBefore(error, message.tries, false) : undefined;
      if (again === undefined) return this.messageDone({ ok: false, error });
      this.effects.push({ type: 'timer', name: `message:${request}`, ms: again });
      return;
    }
    const to = Array.isArray(ack.handedTo) ? ack.handedTo.map((one) => numberOf(fieldsOf(one).devices) ?? 0) : undefined;
    this.messageDone({ ok: true, ...(to ? { devices: to.reduce((all, one) => all + one, 0) } : {}) });
  }

  /** A timer of one that is over says nothing of the one behind it: what is not kept is sent once. */
  private messageAgain(request: string): void {
    const message = this.state.messages[0];
    if (message?.keep && String(message.request) === request) this.sendMessage();
  }

  private messageUnanswered(request: number): void {
    const message = this.state.messages[0];
    if (message?.request !== request) return;
    if (message.keep) this.sendMessage();
    else this.messageDone(failed('unconfirmed', 'no answer of the server'));
  }

  private messageDone(result: Result): void {
    const message = this.state.messages.shift();
    if (message) this.resolve(message.request, result);
    this.sendMessage();
  }

  /** The connection broke: kept ones are said again in the next session. */
  private lostMessages(): void {
    for (const { request, tries } of this.state.messages.filter(({ keep }) => !keep)) {
      this.resolve(request, tries ? failed('unconfirmed', 'the connection broke') : failed('not_connected', 'nothing was sent'));
    }
    this.state.messages = this.state.messages.filter(({ keep }) => keep);
  }

  // ---- words of the server

  private event(name: string, data: Fields): void {
    if (name === 'session:ready') return this.ready(data);
    if (name === 'user:online' || name === 'user:offline') {
      const user = textOf(data.userId);
      if (user) this.present({ [user]: name === 'user:online' });
      return;
    }
    if (name.startsWith('app:')) {
      this.effects.push({ type: 'app', name, data });
      return;
    }
    const id = textOf(data.callId);
    if (!id) return;
    const call = this.find(keyOf(id));
    if (name === 'call:incoming') return this.incoming(id, call, data, false);
    if (!call) {
      if (name === 'call:cancelled' || name === 'call:ended') this.remember(id);
      return;
    }
    if (call.phase === 'ended') {
      if (name === 'call:reject:confirmed' && call.pending?.command === 'decline') this.settle(call, { ok: true });
      return;
    }
    const text = textOf(data.reason);
    const heard = name as keyof ServerEvents;
    const outgoing = call.role === 'caller' && call.phase !== 'active';
    switch (heard) {
      case 'call:ringing':
        if (outgoing) this.heardOf(call).alerting = true;
        return;
      case 'call:accepted':
        // Told again to an active caller: the call is there.
        if (call.role === 'caller') this.heardOf(call);
        if (outgoing) this.activate(call, numberOf(data.timestamp) ?? this.now);
        return;
      case 'call:rejected':
        if (outgoing) this.end(call, 'rejected', text);
        return;
      case 'call:timeout':
        if (outgoing) this.end(call, 'no_answer', text);
        return;
      case 'call:busy':
        if (outgoing) this.end(call, 'busy', text);
        return;
      case 'call:cancelled': {
        if (call.role === 'caller') return;
        const reason = CANCEL_REASONS.get(text) ?? 'cancelled';
        const elsewhere = reason === 'answered_elsewhere' || reason === 'declined_elsewhere';
        if (call.phase !== 'active' || call.restored || !elsewhere) this.end(call, reason, text);
        return;
      }
      case 'call:ended': {
        const duration = numberOf(data.durationMs);
        if (duration !== undefined) call.durationMs = duration;
        return this.end(call, END_REASONS.get(text) ?? 'hung_up', text);
      }
      case 'call:upgrade:request': {
        if (call.phase !== 'active' || textOf(data.senderId) !== call.peer) return;
        // Answered here already, or asked from both sides: that the server has not read yet.
        if (call.video && call.video.command !== 'toAudio') return;
        const left = numberOf(data.expiresInMs) ?? C.VIDEO_MS;
        call.videoAsked = { by: 'peer', until: this.serverNow() + left };
        this.effects.push({ type: 'timer', name: `asked:${call.key}`, ms: left + C.RING_GRACE_MS });
        return;
      }
      case 'call:upgrade:response': {
        // Told again in each session: of a request that was not heard of yet, if nothing is asked it says nothing new.
        const isSaid = call.video?.command === 'askVideo' ? call.video.tries > 0 : call.videoAsked?.by === 'me';
        if (!isSaid) return;
        call.videoAsked = null;
        if (call.video) this.settleVideo(call, { ok: true });
        if (data.accepted === true) this.typed(call, 'VIDEO');
        return;
      }
      case 'call:downgraded':
        if (call.phase === 'active') this.typed(call, 'AUDIO');
        return;
      case 'call:message': {
        const sender = textOf(data.senderId);
        if (sender !== call.peer) return;
        // Kept ones come again in each session.
        const order = numberOf(data.order);
        if (order !== undefined && order <= (call.heard ?? 0)) return;
        if (order !== undefined) call.heard = order;
        const messageId = textOf(data.messageId);
        this.effects.push({
          type: 'message', callId: call.id, senderId: sender, data: data.data ?? null, timestamp: numberOf(data.timestamp) ?? this.now,
          ...(messageId ? { messageId } : {}), ...(data.kept === true ? { kept: true } : {}),
        });
        return;
      }
    }
  }

  private incoming(id: string, known: CallRecord | undefined, data: Fields, pushed: boolean): void {
    const peer = textOf(data.callerId);
    if (!peer) return;
    if (known) {
      if (known.role === 'caller' || known.phase === 'ended') return;
      this.heardOf(known);
      known.fields = withMore(known.fields, data);
      if (known.phase === 'ringing') this.ringFor(known, data);
      return;
    }
    const callType = textOf(data.callType) ?? 'AUDIO';
    const call: CallRecord = {
      id, key: keyOf(id), role: 'callee', peer, callType, dialledType: callType, videoAsked: null, phase: 'ringing', fields: data,
      alerting: false, byPush: pushed, restored: false, known: !pushed, missing: 0,
    };
    this.keep(call);
    this.ringFor(call, data);
    this.effects.push({ type: 'incoming', callId: id });
  }

  private ringFor(call: CallRecord, data: Fields): void {
    const left = numberOf(data.expiresInMs) ?? C.RING_MS;
    this.effects.push({ type: 'timer', name: `ring:${call.key}`, ms: left + C.RING_GRACE_MS });
  }

  /** A new session: the server's record against this one, then every word that it has not answered. */
  private ready(data: Fields): void {
    if (this.state.link.status !== 'connecting' && this.state.link.status !== 'ready') return;
    this.state.link = { status: 'ready', tries: 0 };
    this.state.openMs = C.OPEN_MS;
    const serverTime = numberOf(data.serverTime);
    if (serverTime !== undefined) this.tick(serverTime - this.now);
    const live = fieldsOf(data.call);
    const liveKey = keyOf(textOf(live.callId) ?? '');
    const ended = new Map<string, EndReason>();
    for (const entry of Array.isArray(data.ended) ? data.ended.map(fieldsOf) : []) {
      const id = textOf(entry.callId);
      if (id) ended.set(keyOf(id), reasonOf(entry.reason) ?? 'other');
    }
    for (const call of this.state.calls.filter((other) => other.phase !== 'ended')) {
      const over = ended.get(call.key);
      if (call.key === liveKey) this.stillThere(call, live);
      else if (over) this.end(call, over);
      else if (call.known && liveKey) this.end(call, 'lost');
      else if (call.known && !call.missing) call.missing = 1;
    }
    for (const call of this.state.calls) {
      this.send(call, call.pending);
      if (call.missing && call.phase !== 'ended') this.confirm(call);
      // How requests were answered is told again behind this event: said before that, a request would be taken for another.
      if (call.video?.command !== 'askVideo') this.send(call, call.video);
      else this.effects.push({ type: 'timer', name: `video:${call.key}`, ms: C.RETRY_MS });
    }
    const known = this.find(liveKey);
    if (!known) this.restore(live);
    else if (known.phase === 'ended') this.stillThereThough(known, live);
    this.state.watchTries = 0;
    this.state.watchAgain = false;
    if (this.state.watched.length) this.sendPresence('watch', 'presence:subscribe', this.state.watched);
    this.sendMessage();
  }

  private stillThere(call: CallRecord, live: Fields): void {
    this.heardOf(call);
    const callType = textOf(live.callType);
    if (callType) this.typed(call, callType);
    if (live.state !== 'active') return;
    if (call.role === 'caller') {
      if (call.phase !== 'active') this.activate(call, this.serverNow());
    } else if (call.phase === 'ringing') {
      this.end(call, 'answered_elsewhere');
    }
  }

  /** The server takes for live what was given up here as `lost`, or as a dial that failed: the other side must not talk to
   * nobody, nor ring for him. But it may be the call of another device of this user: a callee's word leaves that one alone, and
   * of a caller's that was restored nothing is said. */
  private stillThereThough(call: CallRecord, live: Fields): void {
    if (call.pending || (call.reason !== 'lost' && !(call.role === 'caller' && call.reason === 'failed'))) return;
    if (call.role === 'callee') {
      if (live.state === 'active') this.say(call, 'decline', { callId: call.id });
    } else if (!call.restored) {
      this.say(call, live.state === 'active' ? 'hangUp' : 'cancel', { callId: call.id });
    }
  }

  /** A live call that this process does not know: of the time before it started, or of another device. What rings here
   * comes as `call:incoming`. */
  private restore(live: Fields): void {
    const id = textOf(live.callId);
    const peer = textOf(live.peerId);
    if (!id || !peer) return;
    const role: Role = live.role === 'callee' ? 'callee' : 'caller';
    const active = live.state === 'active';
    if (role === 'callee' && !active) return;
    const callType = textOf(live.callType) ?? 'AUDIO';
    const call: CallRecord = {
      id, key: keyOf(id), role, peer, callType, dialledType: callType, videoAsked: null, phase: active ? 'active' : 'ringing', fields: {},
      alerting: live.state === 'ringing', byPush: false, restored: true, known: true, missing: 0,
    };
    this.keep(call);
    if (!active) this.rings(call);
    this.effects.push({ type: 'timer', name: `restored:${call.key}`, ms: C.RESTORED_MS }, { type: 'restored', callId: id });
  }

  private tick(sample: number): void {
    if (Math.abs(sample - clockOffset(this.state.clock)) > C.CLOCK_STEP_MS) this.state.clock = [];
    this.state.clock = [...this.state.clock, sample].slice(-C.CLOCK_SAMPLES);
  }

  private present(users: Fields): void {
    for (const user of this.state.watched) {
      const online = users[user];
      if (typeof online !== 'boolean' || this.state.online[user] === online) continue;
      this.state.online[user] = online;
      this.effects.push({ type: 'presence', userId: user, online });
    }
  }

  // ---- pushes

  private push(request: number, data: Fields): void {
    const outcome = this.pushed(data);
    this.effects.push({ type: 'pushed', request, outcome });
    // Also where a connection seems to be there: the socket would have been first if anything passed. One that seems old may be of
    // now, by a clock that was set since the last session.
    if (outcome === 'rings' || outcome === 'too_old') this.resume();
  }

  private pushed(data: Fields): PushOutcome {
    const id = textOf(data.callId);
    if (!id) return 'not_a_call';
    const call = this.find(keyOf(id));
    if (data.type === 'call_cancelled') {
      if (!call) this.remember(id);
      else if (call.role === 'callee' && call.phase === 'ringing') this.end(call, 'cancelled');
      return 'cancelled';
    }
    if (data.type !== 'incoming_call' || !textOf(data.callerId)) return 'not_a_call';
    const { type: _, channelId, timestamp, ...rest } = data;
    const fields = { ...rest, ...(textOf(channelId) ? { channelName: channelId } : {}) };
    if (call) {
      if (call.phase === 'ended') return 'over';
      if (call.role === 'callee' && !call.restored) call.fields = withMore(fields, call.fields);
      return 'known';
    }
    const sentAt = numberOf(timestamp);
    const age = sentAt === undefined ? 0 : Math.max(0, this.serverNow() - sentAt);
    if (age > C.PUSH_AGE_MS) return 'too_old';
    this.incoming(id, undefined, { ...fields, expiresInMs: C.RING_MS - age }, true);
    return 'rings';
  }

  // ---- records

  private find(key: string): CallRecord | undefined {
    return this.state.calls.find((call) => call.key === key);
  }

  /** A call that ended before this phone heard of it: a push that comes later does not ring. */
  private remember(id: string): void {
    this.keep({
      id, key: keyOf(id), role: 'callee', peer: '', callType: '', dialledType: '', videoAsked: null, phase: 'ended', fields: {},
      alerting: false, byPush: false, restored: false, known: true, missing: 0, reason: 'cancelled',
    });
  }

  /** Adds a call; the oldest that are over make room. */
  private keep(call: CallRecord): void {
    this.state.calls.push(call);
    while (this.state.calls.length > C.CALLS_KEPT) {
      const { calls } = this.state;
      let oldest = calls.findIndex((other) => other.phase === 'ended' && !other.pending);
      if (oldest < 0) oldest = calls.findIndex((other) => other.phase === 'ended');
      if (oldest < 0) oldest = 0;
      this.settle(calls[oldest]!, failed('unreachable', 'no answer of the server'));
      this.settleVideo(calls[oldest]!, failed('unreachable', 'no answer of the server'));
      calls.splice(oldest, 1);
    }
  }

  private heardOf(call: CallRecord): CallRecord {
    call.known = true;
    call.missing = 0;
    return call;
  }

  private activate(call: CallRecord, at: number): void {
    call.phase = 'active';
    call.acceptedAt = at;
    if (call.pending?.command === 'call') this.dialled(call);
  }

  private end(call: CallRecord, reason: EndReason, text?: string): void {
    call.phase = 'ended';
    call.reason = reason;
    if (text) call.text = text;
    const result: Result = { ok: false, error: { code: 'overtaken', message: `the call is over: ${reason}`, reason } };
    this.settle(call, result);
    this.settleVideo(call, result);
    call.videoAsked = null;
    // The first may be under way: its answer is waited for.
    const unsaid = this.state.messages.filter(({ key, tries }, at) => key === call.key && (at > 0 || tries === 0));
    for (const { request } of unsaid) this.resolve(request, tooLate(call));
    this.state.messages = this.state.messages.filter((message) => !unsaid.includes(message));
  }

  /** The word under way, if there is one, has come to its end. */
  private settle(call: CallRecord, result: Result): void {
    for (const request of call.pending?.requests ?? []) this.resolve(request, result);
    delete call.pending;
  }

  private settleVideo(call: CallRecord, result: Result): void {
    for (const request of call.video?.requests ?? []) this.resolve(request, result);
    delete call.video;
  }

  private serverNow(): number {
    return this.now + clockOffset(this.state.clock);
  }

  private resolve(request: number, result: Result): void {
    this.effects.push({ type: 'resolve', request, result });
  }
}

/** `more` counts, but for texts that are empty: push and socket may each know what the other does not, as a media token. */
function withMore(fields: Fields, more: Fields): Fields {
  return { ...fields, ...Object.fromEntries(Object.entries(more).filter(([name, value]) => value !== '' || !(name in fields))) };
}

function isVideo(call: CallRecord): boolean {
  return call.callType.toUpperCase() === 'VIDEO';
}

function failed(code: ErrorCode, message: string): Result {
  return { ok: false, error: { code, message } };
}

function tooLate(call: CallRecord): Result {
  return { ok: false, error: { code: 'invalid_state', message: 'the call is over', ...(call.reason ? { reason: call.reason } : {}) } };
}

function errorOf(ack: Fields): SignalingError {
  const code = ack.busy === true ? 'busy' : ack.error === 'Not supported' ? 'not_supported' : CODES.includes(ack.code as ServerCode) ? (ack.code as ServerCode) : 'internal';
  const error: SignalingError = { code, message: textOf(ack.error) ?? 'refused' };
  const wait = numberOf(ack.retryAfterMs);
  if (wait !== undefined) error.retryAfterMs = wait;
  const ringing = textOf(ack.ringingCallId);
  if (ringing) error.ringingCallId = ringing;
  const reason = reasonOf(ack.reason);
  if (reason) error.reason = reason;
  return error;
}

function reasonOf(value: unknown): EndReason | undefined {
  const text = textOf(value);
  return text === undefined ? undefined : REASONS.includes(text as ServerReason) ? (text as ServerReason) : 'other';
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A finite number, also one that is written as a text, as FCM does. */
function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}
