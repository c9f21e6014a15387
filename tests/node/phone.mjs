// A phone: one Socket.IO connection of one user, and everything it heard, in order.
import { isDeepStrictEqual } from 'node:util';
import { OPEN } from './clients.mjs';
import { ackBreaches, eventBreaches } from './contract.mjs';
import { nextCallId } from './ids.mjs';

export const MODES = {
  polling: { transports: ['polling'], upgrade: false },
  upgrade: { transports: ['polling', 'websocket'] },
  websocket: { transports: ['websocket'] },
};

/** Longer than the 2 s after which a node tells again what it believes lost. */
export const SILENCE_MS = 2500;

const EXPECT_MS = 6000;
const CONNECT_MS = 10_000;
const CONNECTING_AT_ONCE = 24;

export class Phone {
  /** The number of handshakes that had to be tried again. */
  static retries = 0;

  constructor({ name, user, node, mode, deviceId, acks, client = '4.8' }) {
    Object.assign(this, { name, user, node, mode, deviceId, acks, client });
    this.heard = [];
    this.inbox = [];
    this.breaches = [];
    this.waiting = null;
    this.accepted = new Map();
    this.repeats = new Map();
  }

  toString() {
    const traits = [this.client !== '4.8' && this.client, this.mode, `node ${this.node.name}`, this.deviceId, this.acks && 'acks'].filter(Boolean);
    return `${this.name} (${this.user}, ${traits.join(', ')})`;
  }

  // ---- connection

  /** Resolves when the server has greeted it and, where both sides offer it, the websocket has taken over. `atOnce`
   *  is for a connection that a ring is waiting for. */
  async connect({ upgraded = true, atOnce = false } = {}) {
    if (!atOnce) await gate.enter();
    try {
      await this.#open(upgraded);
    } finally {
      if (!atOnce) gate.leave();
    }
    return this;
  }

  #open(upgraded) {
    const auth = { token: `token-of-${this.user}`, userId: this.user };
    if (this.deviceId) auth.deviceId = this.deviceId;
    if (this.acks) auth.acks = this.acks;
    this.socket = OPEN[this.client](this.node.url, { ...MODES[this.mode], auth, forceNew: true, timeout: CONNECT_MS });
    this.born = performance.now();
    this.socket.onAny((event, ...args) => this.#hear(event, args));
    return new Promise((done, failed) => {
      const timer = setTimeout(() => failed(this.#error(`was not connected within ${CONNECT_MS} ms`)), CONNECT_MS);
      const check = () => {
        if (!this.ready || (upgraded && this.mode === 'upgrade' && this.transport !== 'websocket')) return;
        clearTimeout(timer);
        // From here on a lost connection is a finding, not something to be healed silently.
        this.socket.io.reconnection(false);
        done();
      };
      this.socket.on('session:ready', check);
      this.socket.on('connect', () => this.socket.io.engine.once('upgrade', check));
      this.socket.on('connect_error', (error) => {
        Phone.retries += 1;
        // Version 3 has no `active`.
        const isFinal = 'active' in this.socket ? !this.socket.active : error.type !== 'TransportError';
        if (isFinal) failed(this.#error(`was refused: ${error.message}`));
      });
      this.socket.on('disconnect', (reason) => {
        if (!this.closed) this.#hear('(disconnect)', [reason]);
      });
    });
  }

  get transport() {
    return this.socket.io.engine?.transport.name;
  }

  get connected() {
    return this.socket.connected;
  }

  close() {
    this.closed = true;
    this.socket?.disconnect();
  }

  // ---- speaking

  /** Sends an event and returns its acknowledgement. */
  async ask(event, ...payload) {
    if (!this.connected) throw this.#error(`is not connected and cannot send ${event}`);
    const args = await new Promise((done, failed) => {
      const timer = setTimeout(() => failed(this.#error(`had no ack of ${event} within ${EXPECT_MS} ms`)), EXPECT_MS);
      this.socket.emit(event, ...payload, (...args) => {
        clearTimeout(timer);
        this.#log(`ack of ${event}`, args);
        done(args);
      });
    });
    const breaches = ackBreaches(args, event);
    if (breaches.length) throw this.#error(`got a wrong ack of ${event} ${show(args)}: ${breaches.join('; ')}`);
    return args[0];
  }

  tell(event, ...payload) {
    this.socket.emit(event, ...payload);
  }

  /** Sends an event that must be obeyed. */
  async does(event, call, state, fields = {}) {
    const ack = await this.ask(event, { callId: call.id, ...fields });
    this.holds(ack, { success: true, callId: call.id, state }, `ack of ${event}`);
    return ack;
  }

  /** Sends an event that must be refused with this code. */
  async fails(event, call, code, fields = {}) {
    const ack = await this.ask(event, { callId: call.id, ...fields });
    this.holds(ack, { success: false, code }, `ack of ${event}`);
    return ack;
  }

  /** Sends `call:initiate`; the call comes back with its ack. */
  async dial(callee, fields = {}) {
    const call = Phone.call(this, callee, fields);
    call.dialledAt = performance.now();
    call.ack = await this.ask('call:initiate', call.offer);
    return call;
  }

  /** Dials and sees every one of these phones of one user ring. */
  async rings(...phones) {
    const call = await this.dial(phones[0]);
    this.holds(call.ack, { success: true, callId: call.id, message: 'Call initiated successfully' }, 'ack of call:initiate');
    await Promise.all(phones.map(async (phone) => (call.incoming = await phone.expectIncoming(call))));
    if (phones.some((phone) => phone.acks)) await this.expect('call:ringing', { callId: call.id });
    return call;
  }

  /** A call that nobody has been told of yet. */
  static call(caller, callee, fields = {}) {
    const id = fields.callId ?? nextCallId();
    const offer = {
      receiverId: callee.user, callId: id, callType: 'VIDEO', channelName: `channel-${id}`, agoraToken: '', ...fields,
    };
    return { id, offer, caller, callee };
  }

  // ---- hearing

  /** The next thing it hears must be this event with these fields. */
  async expect(event, fields = {}, { within = EXPECT_MS } = {}) {
    // A repetition must not pass for the original.
    if (event === 'call:accepted') fields = { repeat: undefined, ...fields };
    const entry = await this.#next(within);
    const wanted = `${event} ${show(fields)}`;
    if (!entry) throw this.#error(`waited ${within} ms for ${wanted}`);
    if (entry.event !== event) throw this.#error(`expected ${wanted}, heard ${entry.event} ${show(entry.payload)}`);
    this.holds(entry.payload, fields, event);
    return entry;
  }

  /** The next things it hears must be these, in any order. */
  async expectAll(...wanted) {
    const left = new Map(wanted);
    while (left.size) {
      const names = [...left.keys()].join(' and ');
      const entry = await this.#next(EXPECT_MS);
      if (!entry) throw this.#error(`waited ${EXPECT_MS} ms for ${names}`);
      if (!left.has(entry.event)) throw this.#error(`expected ${names}, heard ${entry.event} ${show(entry.payload)}`);
      this.holds(entry.payload, left.get(entry.event), entry.event);
      left.delete(entry.event);
    }
  }

  /** `call:incoming` with every field of the offer and none besides. */
  async expectIncoming(call, fields = {}) {
    const { receiverId, ...passed } = call.offer;
    const wanted = { ...passed, callerId: call.caller.user, callerName: call.caller.user, ...fields };
    const entry = await this.expect('call:incoming', wanted);
    const extra = Object.keys(entry.payload).filter((key) => !(key in wanted) && !INCOMING_OWN.includes(key));
    if (extra.length) throw this.#error(`call:incoming carries ${extra.join(', ')}, which nobody sent`);
    return entry;
  }

  /** Drops one such event if it was heard already or is heard before the silence ends. */
  tolerate(event) {
    const at = this.inbox.findIndex((entry) => entry.event === event);
    if (at >= 0) this.inbox.splice(at, 1);
    else this.tolerated = event;
  }

  async nothingMore(within = SILENCE_MS) {
    const entry = this.closed ? this.inbox.shift() : await this.#next(within);
    if (entry) throw this.#error(`was to hear nothing more, heard ${entry.event} ${show(entry.payload)}`);
    if (this.breaches.length) throw this.#error(`heard what the contract forbids: ${this.breaches.join('; ')}`);
  }

  /** Asserts that these lines of its log came in this order. */
  heardInOrder(...lines) {
    const places = lines.map((line) => this.heard.findIndex((entry) => entry.line === line));
    if (places.includes(-1) || places.some((place, i) => i > 0 && place < places[i - 1])) {
      throw this.#error(`should have heard in this order: ${lines.join(', ')}`);
    }
  }

  /** Asserts that `fields` hold in `payload`; a function as value judges the field, `undefined` wants it absent. */
  holds(payload, fields, what) {
    for (const [key, wanted] of Object.entries(fields)) {
      const right = typeof wanted === 'function' ? wanted(payload[key]) : isDeepStrictEqual(payload[key], wanted);
      if (!right) throw this.#error(`${what}: ${key} should be ${show(wanted)}: ${show(payload)}`);
    }
  }

  #hear(event, args) {
    const at = performance.now();
    const payload = args[0];
    this.#log(event, args);
    if (event !== '(disconnect)') {
      const breaches = eventBreaches(event, args, this);
      if (breaches.length) this.breaches.push(`${event} ${show(payload)}: ${breaches.join('; ')}`);
    }
    const answer = args.at(-1);
    // Both spellings of an acknowledgement that clients use.
    if (typeof answer === 'function') this.acks === 'true' ? answer() : answer({ received: true });

    if (event === 'session:ready' && !this.ready) {
      this.ready = payload;
      return;
    }
    if (this.#isRepeat(event, payload, at)) return;
    if (this.tolerated === event) {
      this.tolerated = null;
      return;
    }
    const entry = { event, payload, at };
    if (this.waiting) this.waiting(entry);
    else this.inbox.push(entry);
  }

  /** Sessions without `acks` hear `call:accepted` once more about 2 s after the accept: set aside, not expected. */
  #isRepeat(event, payload, at) {
    if (event !== 'call:accepted') return false;
    const { callId, repeat } = payload ?? {};
    if (!this.accepted.has(callId)) this.accepted.set(callId, at);
    else if (repeat === true && !this.acks && !this.repeats.has(callId)) {
      this.repeats.set(callId, at - this.accepted.get(callId));
      this.onRepeat?.();
      return true;
    }
    return false;
  }

  /** Resolves with how long after the first `call:accepted` its repetition came. */
  async repetition(call, within = EXPECT_MS) {
    if (!this.repeats.has(call.id)) {
      await new Promise((done) => {
        const timer = setTimeout(done, within);
        this.onRepeat = () => (clearTimeout(timer), done());
      });
    }
    if (!this.repeats.has(call.id)) throw this.#error('waited for call:accepted with repeat:true');
    return this.repeats.get(call.id);
  }

  #next(within) {
    if (this.inbox.length) return Promise.resolve(this.inbox.shift());
    return new Promise((done) => {
      const timer = setTimeout(() => this.waiting(null), within);
      this.waiting = (entry) => {
        clearTimeout(timer);
        this.waiting = null;
        done(entry);
      };
    });
  }

  #log(line, args) {
    this.heard.push({ line, args, at: performance.now() - this.born });
  }

  #error(what) {
    const lines = this.heard.slice(-20).map(({ line, args, at }) => `    ${at.toFixed(0).padStart(6)} ms  ${line} ${show(args[0])}`);
    return new Error(`${this} ${what}\n  what it did hear:\n${lines.join('\n') || '    nothing'}`);
  }
}

const INCOMING_OWN = ['timestamp', 'expiresInMs'];

/** Lets so many phones shake hands at a time: the suite measures calls, not a storm of its own making. */
const gate = {
  inside: 0,
  queue: [],
  async enter() {
    if (this.inside >= CONNECTING_AT_ONCE) await new Promise((next) => this.queue.push(next));
    else this.inside += 1;
  },
  leave() {
    if (this.queue.length) this.queue.shift()();
    else this.inside -= 1;
  },
};

function show(value) {
  if (typeof value === 'function') return String(value);
  const text = JSON.stringify(value, (_, inner) => (typeof inner === 'function' ? String(inner) : inner)) ?? 'nothing';
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}
