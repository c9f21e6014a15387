// A small Socket.IO client: protocol v5 over Engine.IO v4, WebSocket only, default namespace, JSON packets; with the troubles
// that networks and browsers make, at will. Not clients/js: the page is served as it lies here, without a build step, and it must
// break its transport in the middle, send any payload, give up and show each packet, which a library that mends all that hides.
// https://socket.io/docs/v4/engine-io-protocol/  https://socket.io/docs/v4/socket-io-protocol/

const TRIES = 5;
const ACK_MS = 10_000;
// The server holds a handshake for 20 s, jittered, while it cannot verify the token.
const CONNECT_MS = 30_000;

/** The WebSocket URL of a server given as `host:port` or as a URL; throws where it is neither. */
export function socketUrl(address) {
  const url = new URL(/^[a-z]+:\/\//i.test(address) ? address : `${location.protocol}//${address}`);
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  return `${secure ? "wss" : "ws"}://${url.host}/socket.io/?EIO=4&transport=websocket`;
}

/**
 * One client, which comes back by itself after a transport close but not after a refusal.
 * `onState(state, detail)`: connecting, connected, waiting, refused, disconnected, lost, killed, closed.
 * `onEvent(name, args, reply)`: `reply` is a function where the server asks for an ack.
 */
export class Socket {
  #url; #auth; #onState; #onEvent;
  #transport; #watchdog; #retry;
  #tries = 0; #silenceMs = CONNECT_MS; #connected = false;
  #nextAck = 0; #acks = new Map();
  // Of the troubles: the transport that nothing passes any more, what came while the tab slept, the delay of each frame.
  #deaf; #slept; #slowMs = 0;

  constructor({ address, auth, onState, onEvent }) {
    this.#url = socketUrl(address);
    this.#auth = auth;
    this.#onState = onState;
    this.#onEvent = onEvent;
  }

  open() {
    this.#onState("connecting", this.#tries ? `try ${this.#tries} of ${TRIES}` : "");
    const transport = (this.#transport = new WebSocket(this.#url));
    this.#watch(CONNECT_MS, "the server did not answer");
    // A transport that was given up may still deliver: only the present one is listened to.
    const present = (hear) => transport === this.#transport && hear();
    transport.onmessage = ({ data }) => this.#arrives(() => present(() => transport !== this.#deaf && this.#receive(data)));
    transport.onclose = ({ code, reason }) =>
      this.#arrives(() => present(() => transport !== this.#deaf && this.#lost(reason || `transport closed (${code})`)));
  }

  /** Leaves for good, telling the server. */
  close() {
    this.#slept = undefined;
    if (this.#connected) this.#write("41");
    this.#drop();
    this.#onState("closed", "");
  }

  // ---- troubles

  /** Closes the transport without a word, as a lost network does; the client then reconnects. */
  cut() {
    if (this.#transport) this.#lost("transport cut by hand");
  }

  /** Nothing passes the transport any more, and nobody is told: a network that died. The client notices when pings stay out. */
  halfOpen() {
    this.#deaf = this.#transport;
  }

  /** The end of the app's process: the transport closes, and nobody comes back. */
  kill() {
    this.#slept = undefined;
    this.#drop();
    this.#onState("killed", "");
  }

  /** A tab that sleeps: no timer runs, nothing is read or said; what comes meanwhile is there when it wakes. */
  sleep() {
    this.#slept = { arrived: [] };
    clearTimeout(this.#watchdog);
    clearTimeout(this.#retry);
  }

  wake() {
    const { arrived, retry } = this.#slept ?? { arrived: [] };
    this.#slept = undefined;
    if (this.#connected) this.#watch(this.#silenceMs, "no ping from the server");
    for (const hear of arrived) hear();
    if (retry || (!this.#transport && this.#tries)) this.open();
  }

  get asleep() { return this.#slept !== undefined; }

  /** Each frame takes so long, in both directions, beside its real time. */
  slow(ms) {
    this.#slowMs = ms;
  }

  get slowMs() { return this.#slowMs; }

  // ---- the wire

  /** Sends an event; with `ask`, resolves to the first argument of the ack, or rejects. */
  emit(name, args, ask) {
    if (!this.#connected) return Promise.reject(new Error("not connected"));
    const id = ask ? this.#nextAck++ : "";
    this.#write(`42${id}${JSON.stringify([name, ...args])}`);
    if (!ask) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id)?.reject(new Error(`no ack within ${ACK_MS / 1000} s`)), ACK_MS);
      this.#acks.set(id, { resolve, reject, timer });
    });
  }

  #write(text) {
    const transport = this.#transport;
    const send = () => {
      if (transport !== this.#deaf && transport.readyState === WebSocket.OPEN) transport.send(text);
    };
    if (this.#slowMs) setTimeout(send, this.#slowMs);
    else send();
  }

  #arrives(hear) {
    if (this.#slept) this.#slept.arrived.push(hear);
    else if (this.#slowMs) setTimeout(() => this.#arrivesLate(hear), this.#slowMs);
    else hear();
  }

  #arrivesLate(hear) {
    if (this.#slept) this.#slept.arrived.push(hear);
    else hear();
  }

  #receive(data) {
    if (typeof data !== "string") return;
    const body = data.slice(1);
    if (data[0] === "0") {
      const { pingInterval, pingTimeout } = JSON.parse(body);
      this.#silenceMs = pingInterval + pingTimeout;
      this.#write(`40${JSON.stringify(this.#auth)}`);
    } else if (data[0] === "1") {
      this.#lost("closed by the server");
    } else if (data[0] === "2") {
      this.#write(`3${body}`);
      if (this.#connected) this.#watch(this.#silenceMs, "no ping from the server");
    } else if (data[0] === "4") {
      this.#packet(body);
    }
  }

  #packet(text) {
    const [, type, namespace, id, json] = /^(\d)(?:(\/[^,]*),)?(\d*)(.*)$/s.exec(text) ?? [];
    if (namespace && namespace !== "/") return;
    const data = json ? JSON.parse(json) : undefined;
    if (type === "0") {
      this.#connected = true;
      this.#tries = 0;
      this.#watch(this.#silenceMs, "no ping from the server");
      this.#onState("connected", "");
    } else if (type === "1") {
      this.#drop();
      this.#onState("disconnected", "");
    } else if (type === "2") {
      const transport = this.#transport;
      const reply = id === "" ? undefined : (...args) => transport === this.#transport && this.#write(`43${id}${JSON.stringify(args)}`);
      this.#onEvent(data[0], data.slice(1), reply);
    } else if (type === "3") {
      this.#settle(Number(id))?.resolve(data[0]);
    } else if (type === "4") {
      this.#drop();
      this.#onState("refused", data?.message ?? "no reason given");
    }
  }

  #settle(id) {
    const ack = this.#acks.get(id);
    clearTimeout(ack?.timer);
    this.#acks.delete(id);
    return ack;
  }

  #watch(ms, why) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#lost(why), ms);
  }

  #drop() {
    clearTimeout(this.#watchdog);
    clearTimeout(this.#retry);
    this.#connected = false;
    const transport = this.#transport;
    this.#transport = undefined;
    this.#deaf = undefined;
    transport?.close();
    for (const id of [...this.#acks.keys()]) this.#settle(id).reject(new Error("connection lost before the ack"));
  }

  #lost(why) {
    this.#drop();
    if (this.#tries === TRIES) {
      this.#tries = 0;
      this.#onState("lost", why);
      return;
    }
    // 1 to 2 s, 2 to 4 s, then 2.5 to 5 s: two phones do not come back in the same moment.
    const delay = Math.min(5000, 2000 * 2 ** this.#tries) * (0.5 + Math.random() / 2);
    this.#tries += 1;
    this.#retry = setTimeout(() => {
      if (this.#slept) this.#slept.retry = true;
      else this.open();
    }, delay);
    this.#onState("waiting", `${why}; try ${this.#tries} of ${TRIES} in ${(delay / 1000).toFixed(1)} s`);
  }
}
