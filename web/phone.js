// One phone of the page: its connection, its call, and what is shown of both.
import { OWN_END, activate, answered, bare, begin, clock, headline, over, told } from "./call.js";
import * as diagram from "./diagram.js";
import * as latency from "./latency.js";
import { Log, clone } from "./log.js";
import { Socket } from "./socket.js";

// Drawing takes longer than the server does: it waits, so that an answer is not received late because of it.
const DRAW_AFTER_MS = 30;
const SLOW_MS = 1000;
export const KEYS = { connect: "d", call: "c", accept: "a", reject: "r", cancel: "x", end: "e" };
const LINKS = {
  closed: "not connected", connecting: "connecting", connected: "connected", waiting: "reconnecting", killed: "killed",
  lost: "connection lost", refused: "refused", disconnected: "disconnected by the server",
};
const SAVED = ["user", "token", "server", "device", "acks", "type", "peer"];

export class Phone {
  socket = null;
  link = { state: "closed", detail: "" };
  // Counts connections: a call begun in the present one is not judged by an older snapshot.
  links = 0;
  wanted = false;
  call = null;
  // The call that this connection has confirmed with call:ringing.
  alerted = "";
  presence = new Map();
  drawing = false;

  /** `lab`: the page, with all its `phones`. */
  constructor(lab, number, defaults) {
    this.lab = lab;
    this.id = `phone-${number}`;
    this.root = clone("phone");
    this.root.id = this.id;
    this.title = `phone ${number}`;
    this.root.setAttribute("aria-label", this.title);
    this.events = new Log(`${this.id}-log`, this.title);
    this.fields = Object.fromEntries([...this.root.querySelectorAll("[data-field]")].map((f) => [f.dataset.field, f]));
    this.buttons = Object.fromEntries([...this.root.querySelectorAll("[data-do]")].map((b) => [b.dataset.do, b]));
    this.show("side", this.title);
    this.restore(defaults);
    this.listen();
  }

  get online() { return this.link.state === "connected"; }
  get live() { return this.call !== null && this.call.state !== "ended"; }
  get user() { return this.fields.user.value.trim(); }
  get server() { return this.fields.server.value.trim(); }
  get others() { return this.lab.phones.filter((phone) => phone !== this); }
  get peer() { return this.fields.peer.value || this.others[0]?.user || ""; }

  /** Which keys act on it: the plain ones, those with Shift, or none. */
  hints(shift) {
    for (const [name, key] of Object.entries(KEYS)) {
      const keys = shift === undefined ? "" : shift ? `Shift+${key.toUpperCase()}` : key;
      this.buttons[name].querySelector("kbd").textContent = keys.slice(-1);
      if (keys) this.buttons[name].setAttribute("aria-keyshortcuts", keys);
      else this.buttons[name].removeAttribute("aria-keyshortcuts");
    }
  }

  isCall(callId) { return this.call !== null && bare(this.call.callId) === bare(callId); }

  listen() {
    for (const [name, button] of Object.entries(this.buttons)) {
      if (button.type !== "submit") button.addEventListener("click", () => this.act(name));
    }
    const [words, byHand] = this.root.querySelectorAll("form");
    words.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.can("say")) this.say(this.fields.words.value);
      this.fields.words.value = "";
    });
    byHand.addEventListener("submit", (event) => {
      event.preventDefault();
      this.sendByHand();
    });
    this.fields.event.addEventListener("input", () => {
      const payload = templates(this)[this.fields.event.value];
      if (payload) this.fields.payload.value = JSON.stringify(payload, null, 2);
    });
    this.fields.user.addEventListener("input", () => this.lab.phones.forEach((phone) => phone.render()));
    this.root.addEventListener("change", () => this.save());
  }

  // A reload keeps the fields and the call, as an app would; another tab starts afresh, and so does another link.
  restore(defaults) {
    let saved = {};
    try { saved = JSON.parse(sessionStorage.getItem(this.id)) ?? {}; } catch { /* no storage: defaults */ }
    if (saved.of !== location.hash) saved = {};
    for (const [name, value] of Object.entries({ ...defaults, ...saved.fields })) {
      const field = this.fields[name];
      if (field.type === "checkbox") field.checked = value;
      else if (name === "peer") this.wantedPeer = value;
      else field.value = value;
    }
    // Link 0 is older than any connection of this page: the server's first word decides about it.
    this.call = saved.call ? { ...saved.call, link: 0, pending: false } : null;
    this.wanted = saved.wanted ?? false;
  }

  /** The fields as they are kept. */
  settings() {
    return Object.fromEntries(SAVED.map((n) => [n, this.fields[n].type === "checkbox" ? this.fields[n].checked : this.fields[n].value]));
  }

  save() {
    const saved = { of: location.hash, fields: this.settings(), wanted: this.wanted, call: this.live ? this.call : null };
    try { sessionStorage.setItem(this.id, JSON.stringify(saved)); } catch { /* no storage: nothing outlives a reload */ }
  }

  connect() {
    const auth = { token: this.fields.token.value, userId: this.user };
    if (this.fields.device.value) auth.deviceId = this.fields.device.value;
    if (this.fields.acks.checked) auth.acks = true;
    this.wanted = true;
    try {
      this.socket = new Socket({
        address: this.server,
        auth,
        onState: (state, detail) => this.linkChanged(state, detail),
        onEvent: (name, args, reply) => this.receive(name, args[0], reply),
      });
      this.socket.open();
    } catch (error) {
      this.linkChanged("refused", error.message);
    }
  }

  linkChanged(state, detail) {
    this.link = { state, detail };
    this.alerted = "";
    latency.forget(this);
    if (state === "connected") this.links += 1;
    else this.presence.clear();
    if (!["connecting", "connected", "waiting"].includes(state)) this.wanted = false;
    this.log("link", detail ? `${state}: ${detail}` : state);
    this.render();
  }

  can(name) {
    const state = this.live ? this.call.state : "idle";
    const awake = !this.socket?.asleep;
    const free = this.online && awake && !(this.live && this.call.pending);
    switch (name) {
      case "connect": return awake;
      case "sleep": case "kill": return this.wanted;
      case "slow": return this.wanted && awake;
      case "call": return this.online && awake && state === "idle" && this.peer !== "";
      case "accept": case "reject": return free && state === "ringing";
      case "cancel": return free && state === "calling";
      case "end": return free && state === "active";
      case "say": return free && state === "active";
      default: return this.online && awake;
    }
  }

  act(name) {
    if (!this.can(name)) return;
    const { socket } = this;
    switch (name) {
      case "connect": return this.wanted ? socket.close() : this.connect();
      case "call": return void this.send("call:initiate", templates(this)["call:initiate"]);
      case "cut": return socket.cut();
      case "kill": return socket.kill();
      case "half-open": socket.halfOpen(); return this.trouble("half open: nothing passes");
      case "slow": socket.slow(socket.slowMs ? 0 : SLOW_MS); return this.trouble(socket.slowMs ? `slow: ${SLOW_MS} ms more` : "no longer slow");
      case "sleep":
        if (socket.asleep) {
          this.trouble("the tab wakes");
          socket.wake();
        } else {
          latency.forget(this);
          socket.sleep();
          this.trouble("the tab sleeps");
        }
        return;
      case "watch": return void this.send("presence:subscribe", templates(this)["presence:subscribe"]);
      default: return void this.send(`call:${name}`, { callId: this.call.callId });
    }
  }

  trouble(text) {
    this.log("link", text);
    this.render();
  }

  sendByHand() {
    const text = this.fields.payload.value.trim();
    let payload;
    try {
      payload = text === "" ? undefined : JSON.parse(text);
      this.show("error", "");
    } catch (error) {
      this.show("error", `not JSON: ${error.message}`);
      return;
    }
    this.send(this.fields.event.value, payload, this.fields.ask.checked);
  }

  /** Whoever joins or comes back is told it again. */
  say(text) {
    const messageId = `m${Date.now()}`;
    return this.send("call:message", { callId: this.call.callId, messageId, keep: true, data: { type: "chat", text } });
  }

  /** Every event goes out here, from a button or by hand, and the phone's state follows it. */
  async send(event, payload, ask = true) {
    const about = this.isCall(payload?.callId) ? this.call : null;
    if (event === "call:initiate" && payload?.callId && !this.live) this.begins(payload, "caller", "calling", payload.receiverId);
    if (event in OWN_END || event === "call:accept") if (about) about.pending = ask;
    this.log("out", event, payload);
    const at = performance.now();
    latency.sent(event, payload, this.others);
    const answer = this.socket.emit(event, payload === undefined ? [] : [payload], ask);
    this.render();
    let reply;
    try {
      reply = await answer;
      if (ask) this.log("ack", event, reply, performance.now() - at, payload?.callId);
    } catch (error) {
      reply = { error: error.message };
      this.log("ack", event, error.message, undefined, payload?.callId);
    }
    this.answered(event, payload, ask ? reply : { success: true });
    this.render();
  }

  answered(event, payload, reply) {
    if (reply?.users) for (const [user, online] of Object.entries(reply.users)) this.presence.set(user, online);
    if (event === "presence:unsubscribe" && reply?.success) for (const user of payload?.userIds ?? []) this.presence.delete(user);
    if (this.isCall(payload?.callId)) answered(this.call, event, reply);
    // Dialled by hand during another call, which the server has ended for this one.
    else if (event === "call:initiate" && reply?.success) this.begins(payload, "caller", "calling", payload.receiverId);
  }

  receive(name, payload, reply) {
    const ms = latency.received(name, payload, this);
    this.log("in", name, payload, ms);
    if (name === "session:ready") this.resume(payload ?? {});
    else if (name === "user:online" || name === "user:offline") this.presence.set(payload.userId, name === "user:online");
    else if (name === "call:incoming" && payload?.callId) this.incoming(payload);
    else if (this.live && this.isCall(payload?.callId)) told(this.call, name, payload);
    if (reply) {
      const answer = { success: true, callId: payload?.callId };
      reply(answer);
      this.log("out", `ack of ${name}`, answer);
    }
    this.render();
  }

  incoming(payload) {
    const { callId, callerId, callerName } = payload;
    const peer = callerName && callerName !== "Unknown" ? callerName : callerId;
    // The server gives a user one live call: a new one means that the end of the old one was missed.
    if (!this.live || !this.isCall(callId)) this.begins(payload, "callee", "ringing", peer);
    this.call.peer = peer;
    this.call.expiresAt = payload.expiresInMs === undefined ? undefined : Date.now() + payload.expiresInMs;
    this.alert();
  }

  alert() {
    if (!this.fields.acks.checked || this.call.state !== "ringing" || this.alerted === this.call.callId) return;
    this.alerted = this.call.callId;
    this.send("call:ringing", { callId: this.call.callId });
  }

  /** Takes the server's word, after a connect, on what became of the call. */
  resume({ call, ended }) {
    if (call) {
      const state = call.state === "active" ? "active" : call.role === "caller" ? "calling" : "ringing";
      if (!this.live || !this.isCall(call.callId)) this.begins(call, call.role, state, call.peerId);
      if (state === "active") activate(this.call);
      else this.call.expiresAt = call.expiresInMs === undefined ? undefined : Date.now() + call.expiresInMs;
      this.alert();
    } else if (this.live && this.call.link !== this.links) {
      over(this.call, ended?.find((past) => this.isCall(past.callId))?.reason?.replaceAll("_", " ") ?? "the call is over");
    }
  }

  begins(payload, role, state, peer) {
    this.call = begin(payload, role, state, peer, this.links);
  }

  show(name, text) {
    const node = this.root.querySelector(`[data-show=${name}]`);
    // An unchanged text written again would be read out again.
    if (node.textContent !== text) node.textContent = text;
  }

  headline() {
    if (this.live) return headline(this.call);
    const { state, detail } = this.link;
    if (!this.online) return state === "refused" ? `${LINKS[state]}: ${detail}` : LINKS[state];
    return this.call ? headline(this.call) : "idle";
  }

  render() {
    if (this.drawing) return;
    this.drawing = true;
    setTimeout(() => this.draw(), DRAW_AFTER_MS);
  }

  draw() {
    this.drawing = false;
    const { state, detail } = this.link;
    this.root.dataset.state = this.live ? this.call.state : this.online ? "idle" : "away";
    this.show("name", this.user || "nobody");
    this.show("who", `${this.user || this.title}: `);
    const headline = this.headline();
    this.show("state", headline);
    const about = this.live || (this.call && this.online);
    this.show("detail", about ? [this.call.type, this.call.callId, this.call.note].filter(Boolean).join(" · ") : "no call");
    const link = LINKS[state] + (detail && `: ${detail}`) + (this.online ? ` to ${this.server}` : "");
    this.show("link", this.socket?.asleep ? "the tab sleeps" : link === headline ? "" : link);
    this.show("connect", this.wanted ? "Disconnect" : "Connect");
    this.show("sleep", this.socket?.asleep ? "Wake" : "Sleep tab");
    this.buttons.slow.setAttribute("aria-pressed", String(Boolean(this.socket?.slowMs)));
    this.show("presence", [...this.presence].map(([user, online]) => `${user} ${online ? "online" : "offline"}`).join(", ") || "nobody is watched");
    this.root.querySelector(".settings").disabled = this.wanted;
    this.drawPeers();
    const focused = document.activeElement;
    for (const [name, button] of Object.entries(this.buttons)) button.disabled = !this.can(name);
    // A button that goes out takes the focus with it; from the group the next Tab reaches the next live button.
    if (focused?.disabled && this.root.contains(focused)) this.root.querySelector(".actions").focus();
    this.events.draw();
    this.tick();
    this.save();
    this.lab.changed(this);
  }

  /** Whom it calls: the other phones' users; the first of them unless another was chosen. */
  drawPeers() {
    const users = [...new Set(this.others.map((phone) => phone.user))].filter((user) => user && user !== this.user);
    const { peer } = this.fields;
    if ([...peer.options].map(({ value }) => value).join() === users.join()) return;
    const chosen = this.wantedPeer ?? peer.value;
    this.wantedPeer = undefined;
    peer.replaceChildren(...users.map((user) => new Option(user, user)));
    if (users.includes(chosen)) peer.value = chosen;
  }

  tick() {
    const { state, since, expiresAt } = this.call ?? {};
    const left = expiresAt === undefined ? 0 : Math.ceil((expiresAt - Date.now()) / 1000);
    const waits = state === "ringing" || state === "calling";
    this.show("timer", state === "active" ? clock(Date.now() - since) : waits && left > 0 ? `${left} s` : "");
  }

  log(direction, name, payload, ms, callId = payload?.callId) {
    this.events.add({ direction, name, payload, ms });
    const verdict = payload?.success === true ? "ok" : payload?.code ?? (payload?.busy ? "busy" : payload?.useFcmFallback ? "push" : "no answer");
    const text = direction === "ack" ? `${name.replace("call:", "")}: ${verdict}` : direction === "link" ? name.split(":")[0] : name;
    diagram.record({
      phone: this.title, user: this.user, server: this.server, direction, callId, text,
      dashed: direction === "ack" || name.startsWith("ack of"),
    });
    this.render();
  }
}

/** Payloads to start from, filled in for this phone as it stands. */
export function templates(phone) {
  const fresh = `call-${Date.now()}`;
  const callId = phone.call?.callId ?? fresh;
  const userIds = [...new Set(phone.others.map(({ user }) => user))];
  return {
    "call:initiate": {
      receiverId: phone.peer, callId: fresh, callType: phone.fields.type.value, channelName: `channel-${fresh}`, agoraToken: "",
    },
    "call:ringing": { callId },
    "call:accept": { callId },
    "call:reject": { callId, reason: "User declined" },
    "call:cancel": { callId, reason: "Caller ended call" },
    "call:end": { callId },
    "call:message": { callId, messageId: `m${Date.now()}`, keep: true, data: { type: "chat", text: "hello" } },
    "presence:subscribe": { userIds },
    "presence:unsubscribe": { userIds },
  };
}
