import { io, type Socket } from 'socket.io-client';
import { CONSTANTS, clockOffset, initial, keyOf, step, type CallRecord, type Effect, type Input, type State } from './machine.js';
import type { CallState, Fields, Link, PushOutcome, Result, Role } from './types.js';

/** What a phone is made of. */
export interface PhoneOptions {
  /** The server alone, such as `https://signaling.example.com`: of a path Socket.IO would make a namespace. */
  url: string;
  /** Whose phone it is: the id that Laravel knows, such as `USR_1001`. */
  userId: string;
  /**
   * This installation, 1 to 64 bytes of UTF-8, the same at every start. Keep it: "answered elsewhere" is told by it, and a
   * call that goes on is found again by it.
   */
  deviceId: string;
  /**
   * The bearer token, asked for at every attempt to connect. Nothing or an empty text means that nobody is logged in; a
   * rejection, that it could not be had this time and is asked for again.
   */
  token: () => string | undefined | null | Promise<string | undefined | null>;
  /** Polling first and then a websocket, unless told otherwise. Order matters. */
  transports?: ('polling' | 'websocket')[];
}

/** What comes with a call that is dialled. All of it reaches the callee's phone, up to 4 KiB. */
export interface CallOptions {
  /** The id that the backend gave the call. Without one it is made here. */
  callId?: string;
  /** The media channel. Without one it is the call's id. */
  channelName?: string;
  /** The callee's token for the media channel. */
  agoraToken?: string;
  [field: string]: unknown;
}

/** What the other party said within a call. */
export interface Message {
  /** The user who said it. */
  senderId: string;
  /** The JSON that he gave to `send`. */
  data: unknown;
  /** When it was said, by the server's clock: milliseconds since the epoch. */
  timestamp: number;
  /** The sender's own name for it. */
  id?: string;
  /** Its sender had it kept. */
  kept?: true;
}

/** How a message is sent. */
export interface SendOptions {
  /** It is said until the server has answered, over reconnects, and told again to devices of the other party that join or
   * return while the call lives. */
  keep?: boolean;
  /** A name of its own, up to 64 of `A-Z a-z 0-9 _ . : -`; what is kept has one in any case. */
  id?: string;
}

/** One line of the log. No tokens, no payloads. */
export interface LogEntry {
  /** When, by this device's clock: milliseconds since the epoch. */
  at: number;
  /** What happened, in English; of a connection that did not come about, why. */
  text: string;
}

/** Takes a listener away again. */
export type Off = () => void;

const LOG_STEPS = 100;
const EVENT_BYTES = 16 * 1024;
const DATA_BYTES = 4 * 1024;
const DEVICE_BYTES = 64;
const CAUSE_CHARACTERS = 200;
const MESSAGES_KEPT = 64;

/**
 * One user on one device: keeps the connection, and has his calls.
 *
 * ```ts
 * import { Phone } from '@onlycare/signaling-client';
 *
 * const phone = new Phone({
 *   url: 'http://127.0.0.1:3001',
 *   userId: 'USR_1001',
 *   deviceId: 'kitchen-tablet',
 *   token: async () => 'a bearer token',
 * });
 * phone.onIncoming((call) => call.answer());
 * phone.connect();
 * ```
 */
export class Phone {
  readonly #options: PhoneOptions;
  #state: State;
  #socket: Socket | undefined;
  /** Counts attempts to connect: what an older one has to say is not heard. */
  #attempt = 0;
  #requests = 0;
  readonly #waiting = new Map<number, (result: Result) => void>();
  readonly #answers = new Map<number, string>();
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #calls = new Map<string, Call>();
  readonly #news: (() => void)[] = [];
  #telling = false;
  readonly #incoming = new Listeners<Call>();
  readonly #restored = new Listeners<Call>();
  readonly #links = new Listeners<Link>();
  readonly #presences = new Listeners<{ userId: string; online: boolean }>();
  readonly #appEvents = new Listeners<{ name: string; data: Fields }>();
  readonly #log: LogEntry[] = [];

  /** @throws TypeError if `url` is no address or has a path, or `deviceId` is empty or over 64 bytes. */
  constructor(options: PhoneOptions) {
    const fault = faultOf(options);
    if (fault) throw new TypeError(fault);
    this.#options = options;
    this.#state = initial(options.userId);
  }

  /** Whether the server is there. */
  get link(): Link {
    return { ...this.#state.link };
  }

  /** The calls that are not over, oldest first. */
  get calls(): Call[] {
    return this.#state.calls.filter((call) => call.phase !== 'ended').map((call) => this.#handle(call));
  }

  /** Who of the watched users is online, as far as it is known. */
  get presence(): ReadonlyMap<string, boolean> {
    return new Map(Object.entries(this.#state.online));
  }

  /** The last 100 steps, for a bug report. */
  get log(): LogEntry[] {
    return [...this.#log];
  }

  /** The server's clock now, in milliseconds since the epoch; before the first session, this device's. */
  serverNow(): number {
    return Date.now() + clockOffset(this.#state.clock);
  }

  /** Connects, and stays connected: for ever, but for a `link` that says `refused`. Also the way back from there. */
  connect(): void {
    this.#take({ type: 'start' });
  }

  /**
   * The app came back to the front, or the network changed: connects at once instead of waiting, also where it tries to for
   * more than 2 s, and looks whether a connection that seems to be there still is.
   *
   * ```ts
   * declare const phone: import('@onlycare/signaling-client').Phone;
   * addEventListener('online', () => phone.resume());
   * document.addEventListener('visibilitychange', () => document.hidden || phone.resume());
   * ```
   */
  resume(): void {
    this.#take({ type: 'resume' });
  }

  /** Disconnects for good, as on a logout. Calls end here as `lost`; hang up first. Open results are `closed`; what ended a
   * call and was not heard is said at the next `connect()`. */
  close(): void {
    this.#take({ type: 'stop' });
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  /**
   * Dials. While a call to the same user of the same type goes on it is that call, so a second tap does nothing; every
   * other call of this phone ends. The call is there at once; `call.dialled` is what the server says.
   *
   * ```ts
   * declare const phone: import('@onlycare/signaling-client').Phone;
   * const call = phone.call('USR_1002', 'VIDEO', { channelName: 'channel-1', agoraToken: '006a' });
   * call.onState((state) => console.log(state.phase, state.reason));
   * const dialled = await call.dialled;
   * if (!dialled.ok && dialled.error.code === 'busy') console.log('he talks to somebody else');
   * ```
   */
  call(userId: string, callType: 'AUDIO' | 'VIDEO', options: CallOptions = {}): Call {
    const callId = options.callId ?? `CALL_${Date.now()}${Math.floor(Math.random() * 1e6)}`;
    const given = { ...options, channelName: options.channelName ?? callId, agoraToken: options.agoraToken ?? '' };
    const { value: fields = { channelName: callId, agoraToken: '' }, fault } = plainOf(given, EVENT_BYTES);
    let dialled = callId;
    const result = this.#ask((request) => {
      this.#take({ type: 'call', request, callId, peer: userId, callType, fields, ...(fault ? { fault } : {}) });
      dialled = this.#answers.get(request) ?? callId;
      this.#answers.delete(request);
    });
    const call = this.#handle(this.#record(dialled)!);
    call._dials(result);
    return call;
  }

  /**
   * Calls that ring here, each once, whether it came over the socket or as a push; with those that ring at this moment.
   *
   * ```ts
   * declare const phone: import('@onlycare/signaling-client').Phone;
   * phone.onIncoming((call) => console.log(`${call.fields.callerName} calls`));
   * ```
   */
  onIncoming(listener: (call: Call) => void): Off {
    return this._hear(this.#incoming, listener, this.calls.filter((call) => call.role === 'callee' && call.state.phase === 'ringing'));
  }

  /**
   * Calls that were going on when this phone connected, and that this process does not know: it was restarted, or it is
   * another device that is in the call. `answer()` takes part in a callee's again, and is refused with
   * `answered_elsewhere` if it is another device's.
   */
  onRestored(listener: (call: Call) => void): Off {
    return this._hear(this.#restored, listener, this.calls.filter((call) => call.state.restored));
  }

  /** Every change of the link, and how it is now. */
  onLink(listener: (link: Link) => void): Off {
    return this._hear(this.#links, listener, [this.link]);
  }

  /** Every change of a watched user. */
  onPresence(listener: (presence: { userId: string; online: boolean }) => void): Off {
    return this._hear(this.#presences, listener, []);
  }

  /** What the backend sends of its own, outside calls: `app:` events (docs/laravel.md), with the `data` that Laravel gave. */
  onAppEvent(listener: (name: string, data: Fields) => void): Off {
    return this._hear(this.#appEvents, ({ name, data }) => listener(name, data), []);
  }

  /**
   * Watches users, up to 500 in all; those beyond, and what is no id of a user, are left out. Kept over reconnects. Each is
   * told by `onPresence` as soon as it is known.
   *
   * ```ts
   * declare const phone: import('@onlycare/signaling-client').Phone;
   * phone.onPresence(({ userId, online }) => console.log(`${userId} is ${online ? 'there' : 'away'}`));
   * phone.watch('USR_1002', 'USR_1003');
   * ```
   */
  watch(...userIds: string[]): void {
    this.#take({ type: 'watch', users: userIds });
  }

  /** No longer watches them. */
  unwatch(...userIds: string[]): void {
    this.#take({ type: 'unwatch', users: userIds });
  }

  /**
   * The data of a push. Of one call, whichever of push and socket comes first rings, and the other adds to it; a push
   * that is older than 20 s, or of a call that is over, does not ring. Call `connect()` as well: a push is no connection.
   *
   * ```ts
   * declare const phone: import('@onlycare/signaling-client').Phone;
   * declare function onMessage(handler: (message: { data: Record<string, string> }) => void): void;
   * onMessage((message) => {
   *   phone.connect();
   *   if (phone.handlePush(message.data) === 'not_a_call') console.log('somebody else handles it');
   * });
   * ```
   */
  handlePush(data: Record<string, unknown>): PushOutcome {
    const request = ++this.#requests;
    this.#take({ type: 'push', request, data });
    const outcome = this.#answers.get(request) as PushOutcome;
    this.#answers.delete(request);
    return outcome;
  }

  /** @internal */
  _say(input: (request: number) => Input): Promise<Result> {
    return this.#ask((request) => this.#take(input(request)));
  }

  /** What nobody hears is `unheard`.
   * @internal */
  _tell<T>(all: Listeners<T>, value: T, unheard?: (value: T) => void): void {
    this.#tell(() => all.tell(value, this.#failed) || unheard?.(value));
  }

  /** From now on `listener` hears what `all` do, after what there is `now`, which it takes. It joins behind the news that are on
   * their way already: they are part of `now`.
   * @internal */
  _hear<T>(all: Listeners<T>, listener: (value: T) => void, now: T[]): Off {
    const one = all.add(listener);
    this.#tell(() => one.join(now, this.#failed));
    return () => one.leave();
  }

  #ask(send: (request: number) => void): Promise<Result> {
    const request = ++this.#requests;
    const result = new Promise<Result>((done) => this.#waiting.set(request, done));
    send(request);
    return result;
  }

  #take(input: Input): void {
    const before = this.#state;
    const [state, effects] = step(before, { ...input, now: Date.now(), random: Math.random() });
    this.#state = state;
    this.#note(input, before, state);
    for (const record of state.calls) this.#calls.get(record.key)?._update(record);
    if (JSON.stringify(before.link) !== JSON.stringify(state.link)) {
      this._tell(this.#links, this.link);
    }
    for (const effect of effects) this.#do(effect);
    for (const key of this.#calls.keys()) if (!state.calls.some((call) => call.key === key)) this.#calls.delete(key);
  }

  #do(effect: Effect): void {
    switch (effect.type) {
      case 'connect': return void this.#connect(effect.openMs);
      case 'disconnect': return this.#disconnect();
      case 'timer': {
        clearTimeout(this.#timers.get(effect.name));
        this.#timers.set(effect.name, setTimeout(() => {
          this.#timers.delete(effect.name);
          this.#take({ type: 'timer', name: effect.name });
        }, effect.ms));
        return;
      }
      case 'send': return this.#send(effect);
      case 'resolve': {
        this.#waiting.get(effect.request)?.(effect.result);
        this.#waiting.delete(effect.request);
        return;
      }
      case 'dialled': return void this.#answers.set(effect.request, effect.callId);
      case 'pushed': return void this.#answers.set(effect.request, effect.outcome);
      case 'incoming': {
        return this._tell(this.#incoming, this.#handle(this.#record(effect.callId)!));
      }
      case 'restored': {
        return this._tell(this.#restored, this.#handle(this.#record(effect.callId)!));
      }
      case 'message': {
        const { callId, senderId, data, timestamp, messageId, kept } = effect;
        return this.#handle(this.#record(callId)!)._hear({
          senderId, data, timestamp, ...(messageId ? { id: messageId } : {}), ...(kept ? { kept } : {}),
        });
      }
      case 'app': {
        const { name, data } = effect;
        return this._tell(this.#appEvents, { name, data });
      }
      case 'presence': {
        const { userId, online } = effect;
        return this._tell(this.#presences, { userId, online });
      }
    }
  }

  async #connect(openMs: number): Promise<void> {
    this.#disconnect();
    const attempt = ++this.#attempt;
    const current = (input: Input) => {
      if (attempt === this.#attempt) this.#take(input);
    };
    const failed = (why: string, input: Input) => {
      if (attempt !== this.#attempt) return;
      this.#write(why);
      this.#take(input);
    };
    let token: string | undefined | null;
    try {
      token = await this.#options.token();
    } catch (error) {
      return failed(`the token provider failed: ${classOf(error)}`, { type: 'closed', dismissed: false });
    }
    if (attempt !== this.#attempt) return;
    if (!token) return this.#take({ type: 'noToken' });
    const secret = token;
    const { url, userId, deviceId, transports } = this.#options;
    const socket = io(url, {
      auth: { token, userId, deviceId, acks: true },
      transports: transports ?? ['polling', 'websocket'],
      // The machine decides when to come back, with a fresh token.
      reconnection: false,
      forceNew: true,
      // Until the transport is open; the server may hold the CONNECT packet for longer.
      timeout: openMs,
    });
    this.#socket = socket;
    socket.on('connect', () => current({ type: 'connected' }));
    socket.on('connect_error', (error: Error) => {
      // A refusal is a packet of the server; all else is the transport.
      const refused = 'data' in error || ['Invalid token', 'Authentication required', 'Authentication failed'].includes(error.message);
      const why = withoutSecrets(refused ? `CONNECT_ERROR ${error.message}` : causeOf(error), secret);
      const closed: Input = { type: 'closed', dismissed: false, ...(isTimeout(error) ? { timedOut: true } : {}) };
      failed(`could not connect: ${why}`, refused ? { type: 'refused', message: error.message } : closed);
    });
    socket.on('disconnect', (reason) => current({ type: 'closed', dismissed: reason === 'io server disconnect' }));
    // Once the websocket has said `pong` polling is paused for it. If it breaks before it takes over, nothing passes any more, and
    // engine.io notices by the pings, half a minute later.
    socket.io.on('open', () => {
      const { engine } = socket.io;
      engine.on('upgrading', () => engine.once('upgradeError', () => current({ type: 'closed', dismissed: false })));
    });
    socket.onAny((name: string, data: unknown, confirm: unknown) => {
      // At once: the caller hears that it rings.
      if (name === 'call:incoming' && typeof confirm === 'function') confirm();
      current({ type: 'event', name, data });
    });
  }

  #disconnect(): void {
    this.#attempt += 1;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.offAny();
    socket?.removeAllListeners();
    socket?.disconnect();
  }

  #send({ command, key, try: number, event, payload }: Effect & { type: 'send' }): void {
    const attempt = this.#attempt;
    const ms = command === 'probe' ? CONSTANTS.PROBE_MS : CONSTANTS.ACK_MS;
    this.#socket?.timeout(ms).emit(event, payload, (error: Error | null, ack: unknown) => {
      if (attempt !== this.#attempt) return;
      this.#take(error ? { type: 'unanswered', command, key, try: number } : { type: 'ack', command, key, try: number, ack });
    });
  }

  #record(callId: string): CallRecord | undefined {
    const key = keyOf(callId);
    return this.#state.calls.find((call) => call.key === key);
  }

  #handle(record: CallRecord): Call {
    let call = this.#calls.get(record.key);
    if (!call) this.#calls.set(record.key, (call = new Call(this, record)));
    return call;
  }

  /** Listeners are told after the step, one after the other: what they say in return is a step of its own. */
  #tell(news: () => void): void {
    this.#news.push(news);
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      for (let next = this.#news.shift(); next; next = this.#news.shift()) next();
      this.#telling = false;
    });
  }

  readonly #failed = (error: unknown): void => {
    this.#write(`a listener failed: ${classOf(error)}`);
    console.error(error);
  };

  #note(input: Input, before: State, after: State): void {
    const words = [
      input.type,
      'name' in input ? input.name : 'command' in input ? input.command : '',
      'callId' in input ? input.callId : 'key' in input ? input.key : callIdOf(input),
      before.link.status === after.link.status ? '' : `link ${after.link.status} ${after.link.reason ?? ''}`,
      ...after.calls.flatMap((call) => {
        const was = before.calls.find((other) => other.key === call.key)?.phase;
        return was === call.phase ? [] : [`${call.id} ${call.phase} ${call.reason ?? ''}`];
      }),
    ];
    this.#write(words.map((word) => word.trim()).filter(Boolean).join(' '));
  }

  #write(text: string): void {
    this.#log.push({ at: Date.now(), text });
    if (this.#log.length > LOG_STEPS) this.#log.shift();
  }
}

/**
 * One call, for one screen. It hears of nothing but this call: what the server says of another has another `Call`.
 *
 * Each word may be said twice, gives a typed result and never throws. It is said until the server has answered, over
 * reconnects, or until something overtook it. `cancel`, `decline` and `hangUp` end the call here at once.
 */
export class Call {
  /** As the server spells it, `CALL_17642`. */
  readonly id: string;
  /** Whether this user dialled. */
  readonly role: Role;
  /** The user at the other end. */
  readonly peer: string;
  /**
   * A caller's: what became of the dial. `ok`: the callee's phones ring, or a push is on its way to them
   * (`state.byPush`). Errors: `busy`, `rate_limited`, `unavailable`, `not_a_participant`, `invalid_state`,
   * `invalid_payload`, `unreachable` (no server for 30 s), `login_required`, `overtaken`. For a callee's, and
   * for one that is restored: `ok`.
   */
  get dialled(): Promise<Result> {
    return this.#dialled ?? Promise.resolve({ ok: true });
  }

  #dialled: Promise<Result> | undefined;
  #fields: Fields;
  #state: CallState;
  readonly #phone: Phone;
  readonly #states = new Listeners<CallState>();
  readonly #messages = new Listeners<Message>();
  readonly #unheard: Message[] = [];

  /** @internal */
  constructor(phone: Phone, record: CallRecord) {
    this.#phone = phone;
    this.id = record.id;
    this.role = record.role;
    this.peer = record.peer;
    this.#fields = record.fields;
    this.#state = stateOf(record);
  }

  /** How it is now. */
  get state(): CallState {
    return this.#state;
  }

  /** `AUDIO` or `VIDEO`, as it is now. */
  get callType(): string {
    return this.#state.callType;
  }

  /** What came with it: `callerName`, `channelName`, `agoraToken` and whatever the caller's app added. */
  get fields(): Fields {
    return this.#fields;
  }

  /** Every change, and how it is now. */
  onState(listener: (state: CallState) => void): Off {
    return this.#phone._hear(this.#states, listener, [this.#state]);
  }

  /** What the other party sends. The last 64 that came before anybody listened come first. */
  onMessage(listener: (message: Message) => void): Off {
    return this.#phone._hear(this.#messages, listener, this.#unheard);
  }

  /**
   * A callee's. `ok`: it is active, and on this device. Errors: `answered_elsewhere`, `overtaken`, `invalid_state`,
   * `call_not_found`, `not_a_participant`.
   *
   * ```ts
   * declare const call: import('@onlycare/signaling-client').Call;
   * const answered = await call.answer();
   * if (answered.ok) console.log('join', call.fields.channelName);
   * else if (answered.error.code === 'answered_elsewhere') console.log('another device has it');
   * ```
   */
  answer(): Promise<Result> {
    return this.#phone._say((request) => ({ type: 'answer', request, callId: this.id }));
  }

  /**
   * A callee's, while it rings; after that it hangs up. The caller reads `reason`, up to 200 characters. `ok`: the
   * server knows. Errors: `not_a_participant`, `closed`.
   *
   * ```ts
   * declare const call: import('@onlycare/signaling-client').Call;
   * await call.decline('In a meeting');
   * ```
   */
  decline(reason?: string): Promise<Result> {
    return this.#phone._say((request) => ({ type: 'decline', request, callId: this.id, ...(reason ? { reason } : {}) }));
  }

  /**
   * A caller's, while it rings; after that it hangs up. `ok`: the server knows. Errors: `not_a_participant`, `closed`.
   *
   * ```ts
   * declare const call: import('@onlycare/signaling-client').Call;
   * void call.cancel();
   * console.log(call.state.phase, 'at once');
   * ```
   */
  cancel(reason?: string): Promise<Result> {
    return this.#phone._say((request) => ({ type: 'cancel', request, callId: this.id, ...(reason ? { reason } : {}) }));
  }

  /**
   * Whatever it is at: cancels, declines or hangs up. `ok`: the server knows. Error: `closed`.
   *
   * ```ts
   * declare const call: import('@onlycare/signaling-client').Call;
   * declare const phone: import('@onlycare/signaling-client').Phone;
   * await call.hangUp();
   * phone.close();
   * ```
   */
  hangUp(): Promise<Result> {
    return this.#phone._say((request) => ({ type: 'hangUp', request, callId: this.id }));
  }

  /**
   * Asks the other party of an active audio call for video; `state.videoAsked` and `state.callType` say what becomes of it.
   * `ok`: he is asked, or it is a video call. Errors: `invalid_state`, `not_supported`, `overtaken`, `call_not_found`,
   * `not_a_participant`, `closed`.
   *
   * ```ts
   * declare const call: import('@onlycare/signaling-client').Call;
   * call.onState(({ callType, videoAsked }) => console.log(callType, videoAsked?.by === 'me' ? 'and he is asked' : ''));
   * const asked = await call.askVideo();
   * if (!asked.ok && asked.error.code === 'not_supported') console.log('hide the button');
   * ```
   */
  askVideo(): Promise<Result> {
    return this.#phone._say((request) => ({ type: 'askVideo', request, callId: this.id }));
  }

  /**
   * Answers the other party, while `state.videoAsked` is his. `ok`: the server knows; after a yes it is a video call.
   * Errors as of `askVideo`.
   *
   * ```ts
   * declare const call: import('@onlycare/signaling-client').Call;
   * call.onState(({ videoAsked }) => {
   *   if (videoAsked?.by === 'peer') void call.answerVideo(true);
   * });
   * ```
   */
  answerVideo(accepted: boolean): Promise<Result> {
    return this.#phone._say((request) => ({ type: 'answerVideo', request, callId: this.id, accepted }));
  }

  /**
   * Makes a video call an audio call, without asking. `ok`: it is one. Errors as of `askVideo`.
   *
   * ```ts
   * declare const call: import('@onlycare/signaling-client').Call;
   * if ((await call.toAudio()).ok) console.log(call.callType);
   * ```
   */
  toAudio(): Promise<Result> {
    return this.#phone._say((request) => ({ type: 'toAudio', request, callId: this.id }));
  }

  /**
   * Sends JSON of at most 4 KiB to the other party, behind what was sent before. `ok`: `devices` of the other party were
   * handed it. Without `keep` it is sent once. Errors: `not_connected` (not sent), `unconfirmed` (sent, and who knows), `invalid_payload`,
   * `invalid_state`, `not_a_participant`, `call_not_found`, `rate_limited`, `unavailable`, `closed`.
   *
   * ```ts
   * declare const call: import('@onlycare/signaling-client').Call;
   * call.onMessage(({ senderId, data }) => console.log(senderId, data));
   * const sent = await call.send({ type: 'chat', text: 'Two minutes, please' }, { keep: true });
   * if (sent.ok) console.log(`${sent.devices} devices have it`);
   * ```
   */
  send(data: unknown, options: SendOptions = {}): Promise<Result> {
    const { keep = false, id = keep ? `${Date.now()}.${Math.floor(Math.random() * 1e9)}` : undefined } = options;
    const { value, fault } = plainOf(data, DATA_BYTES);
    return this.#phone._say((request) => ({
      type: 'message', request, callId: this.id, data: value, ...(fault ? { fault } : {}), ...(keep ? { keep } : {}), ...(id ? { messageId: id } : {}),
    }));
  }

  /** @internal */
  _dials(result: Promise<Result>): void {
    if (this.role === 'caller') this.#dialled ??= result;
  }

  /** @internal */
  _update(record: CallRecord): void {
    this.#fields = record.fields;
    const state = stateOf(record);
    if (JSON.stringify(state) === JSON.stringify(this.#state)) return;
    this.#state = state;
    this.#phone._tell(this.#states, state);
  }

  /** @internal */
  _hear(message: Message): void {
    this.#phone._tell(this.#messages, message, () => {
      this.#unheard.push(message);
      if (this.#unheard.length > MESSAGES_KEPT) this.#unheard.shift();
    });
  }
}

type Failed = (error: unknown) => void;

/** Those who hear of one thing. What one of them throws is `failed`, and the others hear all the same. */
class Listeners<T> {
  readonly #all = new Set<One<T>>();

  add(listener: (value: T) => void): One<T> {
    const one: One<T> = new One(listener, () => void this.#all.delete(one));
    this.#all.add(one);
    return one;
  }

  /** Whether anybody heard it. */
  tell(value: T, failed: Failed): boolean {
    const all = [...this.#all].filter((one) => one.joined);
    for (const one of all) one.tell(value, failed);
    return all.length > 0;
  }
}

class One<T> {
  joined = false;
  #open = true;

  constructor(private readonly listener: (value: T) => unknown, private readonly left: () => void) {}

  /** Whoever has left already takes nothing of `first`. */
  join(first: T[], failed: Failed): void {
    this.joined = true;
    while (this.#open && first.length) this.tell(first.shift()!, failed);
  }

  tell(value: T, failed: Failed): void {
    if (!this.#open) return;
    try {
      const done = this.listener(value);
      if (done instanceof Promise) done.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  leave(): void {
    this.#open = false;
    this.left();
  }
}

/** Why no phone can be made of it. */
function faultOf({ url, deviceId }: PhoneOptions): string | undefined {
  const address = /^(?:https?|wss?):\/\/[^/?#\s]+([^?#]*)/i.exec(String(url));
  if (!address) return `url is "${url}" and no address, such as https://signaling.example.com`;
  if (address[1] && address[1] !== '/') {
    return `url is "${url}" and has a path, which Socket.IO takes for a namespace: name the server alone, such as https://signaling.example.com`;
  }
  const bytes = typeof deviceId === 'string' ? bytesOf(deviceId) : 0;
  if (bytes > 0 && bytes <= DEVICE_BYTES) return undefined;
  return `deviceId has ${bytes} bytes and must have 1 to ${DEVICE_BYTES}: the server takes another for none, and all such phones of a user for one`;
}

const classOf = (error: unknown): string => (error instanceof Error ? error.name : 'unknown');

/** Whether the `timeout` of the options ran out. */
const isTimeout = (error: TransportFault): boolean => error.type === undefined && error.message === 'timeout';

/** What a transport knows of its failure: a status of HTTP, or what the platform says, which in a browser is nothing. */
interface TransportFault extends Error {
  type?: string;
  description?: unknown;
  /** A request of polling. In Node its `statusText` is the error of the socket. */
  context?: { statusText?: unknown };
}

function causeOf(error: TransportFault): string {
  const { type, message, description, context } = error;
  if (type !== 'TransportError') return error.name === 'Error' ? message : `${error.name}: ${message}`;
  const status = typeof description === 'number' && description > 0 ? `HTTP ${description}` : undefined;
  const detail = status ?? wordsOf(context?.statusText) ?? wordsOf(description) ?? 'no answer: the address, the port, or CORS';
  return `${type}: ${message}, ${detail}`;
}

/** Of an error or an event of one. Where all addresses of a name failed there is a code and no message. */
function wordsOf(error: unknown): string | undefined {
  const { message, code } = (error ?? {}) as { message?: unknown; code?: unknown };
  return [message, code].find((words): words is string => typeof words === 'string' && words !== '');
}

/** Fit for the log: neither the token nor the query of an address. */
function withoutSecrets(text: string, token: string): string {
  return text.split(token).join('…').replace(/\?\S+/g, '?…').slice(0, CAUSE_CHARACTERS);
}

/** What the server will read of it, or why it can't be sent: what it is now, whatever the app does to it later. */
function plainOf<T>(given: T, limit: number): { value?: T; fault?: string } {
  try {
    const json = JSON.stringify(given) as string | undefined;
    if (json === undefined) return { fault: 'it is no JSON' };
    if (bytesOf(json) > limit) return { fault: `it is larger than ${limit} bytes` };
    return { value: JSON.parse(json) as T };
  } catch (error) {
    return { fault: `it is no JSON: ${error instanceof Error ? error.message : 'unknown'}` };
  }
}

/** In UTF-8; React Native has no `TextEncoder` of old. */
function bytesOf(text: string): number {
  let bytes = 0;
  for (const letter of text) {
    const code = letter.codePointAt(0)!;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}

function stateOf({ phase, callType, videoAsked, alerting, byPush, restored, acceptedAt, reason, text, durationMs }: CallRecord): CallState {
  return {
    phase, callType, videoAsked, alerting, byPush, restored,
    ...(acceptedAt === undefined ? {} : { acceptedAt }),
    ...(reason === undefined ? {} : { reason }),
    ...(text === undefined ? {} : { text }),
    ...(durationMs === undefined ? {} : { durationMs }),
  };
}

function callIdOf(input: Input): string {
  const data = input.type === 'event' || input.type === 'push' ? (input.data as Fields | undefined) : undefined;
  return typeof data?.callId === 'string' ? data.callId.slice(0, 64) : '';
}
