// The test page: two phones that can call each other, each over a connection of its own.
import { Socket } from "./socket.js";

const LOG_ENTRIES = 200;
// Drawing takes longer than the server does: it waits, so that an answer is not received late because of it.
const DRAW_AFTER_MS = 30;
const KEYS = { connect: "d", call: "c", accept: "a", reject: "r", cancel: "x", end: "e" };
const ANSWERS = {
  "call:initiate": "call:incoming",
  "call:accept": "call:accepted",
  "call:reject": "call:rejected",
  "call:cancel": "call:cancelled",
  "call:end": "call:ended",
};
const LINKS = {
  closed: "not connected", connecting: "connecting", connected: "connected", waiting: "reconnecting",
  lost: "connection lost", refused: "refused", disconnected: "disconnected by the server",
};
const OWN_END = { "call:reject": "you declined", "call:cancel": "you cancelled", "call:end": "you hung up" };
// A refusal with one of these codes means that the call is over for this phone; any other may pass.
const OVER = ["invalid_state", "call_not_found", "not_a_participant"];

const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
const bare = (callId) => String(callId ?? "").replace(/^CALL_/, "");
const twoDigits = (n) => String(n).padStart(2, "0");
const clock = (ms) => `${twoDigits(Math.floor(ms / 60_000))}:${twoDigits(Math.floor(ms / 1000) % 60)}`;

function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

/** Measured times between an emit on one phone and the receipt on the other, in ms. */
const latency = {
  pending: new Map(),
  samples: new Map(Object.keys(ANSWERS).map((event) => [event, []])),

  sent(event, payload, receiver) {
    // Towards a phone that is away the time would measure its absence.
    if (event in ANSWERS && payload?.callId && receiver.online) {
      this.pending.set(`${ANSWERS[event]} ${bare(payload.callId)}`, { event, receiver, at: performance.now() });
    }
  },

  /** The ms since the emit that `name` answers, where `phone` was waiting for it. */
  received(name, payload, phone) {
    const key = `${name} ${bare(payload?.callId)}`;
    const mark = this.pending.get(key);
    if (mark?.receiver !== phone) return undefined;
    const ms = performance.now() - mark.at;
    this.pending.delete(key);
    this.samples.get(mark.event).push(ms);
    return ms;
  },

  /** What a phone hears after it was away is a replay and says nothing about the wire. */
  forget(phone) {
    for (const [key, mark] of this.pending) if (mark.receiver === phone) this.pending.delete(key);
  },

  clear() {
    for (const samples of this.samples.values()) samples.length = 0;
    this.render();
  },

  render() {
    const rows = [...this.samples].map(([event, samples]) => {
      const row = document.createElement("tr");
      row.dataset.event = event;
      const title = element("th", "", `${event.slice(5)} → ${ANSWERS[event].slice(5)}`);
      title.scope = "row";
      const sorted = samples.toSorted((a, b) => a - b);
      const middle = sorted.length >> 1;
      const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
      const values = sorted.length ? [samples.at(-1), sorted[0], median, sorted.at(-1)] : Array(4).fill(undefined);
      row.append(title, ...values.map((ms) => element("td", "", ms?.toFixed(1) ?? "–")));
      row.append(element("td", "", samples.length));
      return row;
    });
    document.getElementById("latency").replaceChildren(...rows);
  },
};

class Phone {
  socket = null;
  link = { state: "closed", detail: "" };
  // Counts connections: a call begun in the present one is not judged by an older snapshot.
  links = 0;
  wanted = false;
  call = null;
  // The call that this connection has confirmed with call:ringing.
  alerted = "";
  undrawn = [];
  drawing = false;

  constructor(side, defaults) {
    this.side = side;
    this.root = clone("phone");
    this.root.id = side;
    this.root.setAttribute("aria-label", `${side} phone`);
    this.logRoot = clone("log");
    this.logRoot.id = `${side}-log`;
    this.fields = Object.fromEntries([...this.root.querySelectorAll("[data-field]")].map((f) => [f.dataset.field, f]));
    this.buttons = Object.fromEntries([...this.root.querySelectorAll("[data-do]")].map((b) => [b.dataset.do, b]));
    this.show("side", `${side} phone`);
    this.logRoot.querySelector("[data-show=side]").textContent = `${side} phone`;
    for (const [name, key] of Object.entries(KEYS)) {
      const keys = side === "left" ? key : `Shift+${key.toUpperCase()}`;
      this.buttons[name].setAttribute("aria-keyshortcuts", keys);
      this.buttons[name].querySelector("kbd").textContent = keys.at(-1);
    }
    this.restore(defaults);
    this.listen();
  }

  get online() { return this.link.state === "connected"; }
  get live() { return this.call !== null && this.call.state !== "ended"; }
  get user() { return this.fields.user.value.trim(); }

  isCall(callId) { return this.call !== null && bare(this.call.callId) === bare(callId); }

  listen() {
    for (const [name, button] of Object.entries(this.buttons)) {
      if (name !== "send") button.addEventListener("click", () => this.act(name));
    }
    this.root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.sendByHand();
    });
    this.fields.event.addEventListener("input", () => {
      const payload = templates(this)[this.fields.event.value];
      if (payload) this.fields.payload.value = JSON.stringify(payload, null, 2);
    });
    this.fields.user.addEventListener("input", () => phones.forEach((phone) => phone.render()));
    this.root.addEventListener("change", () => this.save());
    this.logRoot.querySelector("button").addEventListener("click", () => this.logRoot.querySelector("ol").replaceChildren());
  }

  // A reload keeps the fields and the call, as an app would; another tab starts afresh.
  restore(defaults) {
    let saved = {};
    try { saved = JSON.parse(sessionStorage.getItem(this.side)) ?? {}; } catch { /* no storage: defaults */ }
    for (const [name, value] of Object.entries({ ...defaults, ...saved.fields })) {
      const field = this.fields[name];
      if (field.type === "checkbox") field.checked = value;
      else field.value = value;
    }
    // Link 0 is older than any connection of this page: the server's first word decides about it.
    this.call = saved.call ? { ...saved.call, link: 0, pending: false } : null;
    this.wanted = saved.wanted ?? false;
  }

  save() {
    const names = ["user", "token", "server", "device", "acks", "type"];
    const fields = names.map((n) => [n, this.fields[n].type === "checkbox" ? this.fields[n].checked : this.fields[n].value]);
    const saved = { fields: Object.fromEntries(fields), wanted: this.wanted, call: this.live ? this.call : null };
    try { sessionStorage.setItem(this.side, JSON.stringify(saved)); } catch { /* no storage: nothing outlives a reload */ }
  }

  connect() {
    const auth = { token: this.fields.token.value, userId: this.user };
    if (this.fields.device.value) auth.deviceId = this.fields.device.value;
    if (this.fields.acks.checked) auth.acks = true;
    this.wanted = true;
    try {
      this.socket = new Socket({
        address: this.fields.server.value.trim(),
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
    if (!["connecting", "connected", "waiting"].includes(state)) this.wanted = false;
    this.log("link", detail ? `${state}: ${detail}` : state);
    this.render();
  }

  can(name) {
    const state = this.live ? this.call.state : "idle";
    const free = this.online && !(this.live && this.call.pending);
    switch (name) {
      case "connect": return true;
      case "call": return this.online && state === "idle" && other(this).user !== "";
      case "accept": case "reject": return free && state === "ringing";
      case "cancel": return free && state === "calling";
      case "end": return free && state === "active";
      default: return this.online;
    }
  }

  act(name) {
    if (!this.can(name)) return;
    if (name === "connect") {
      if (this.wanted) this.socket.close();
      else this.connect();
    } else if (name === "call") {
      this.send("call:initiate", templates(this)["call:initiate"]);
    } else if (name === "cut") {
      this.socket.cut();
    } else {
      this.send(`call:${name}`, { callId: this.call.callId });
    }
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

  /** Every event goes out here, from a button or by hand, and the phone's state follows it. */
  async send(event, payload, ask = true) {
    const about = this.isCall(payload?.callId) ? this.call : null;
    if (event === "call:initiate" && payload?.callId && !this.live) this.begin(payload, "caller", "calling", payload.receiverId);
    if (event in OWN_END || event === "call:accept") if (about) about.pending = ask;
    this.log("out", event, payload);
    const at = performance.now();
    latency.sent(event, payload, other(this));
    const answer = this.socket.emit(event, payload === undefined ? [] : [payload], ask);
    this.render();
    let reply;
    try {
      reply = await answer;
      if (ask) this.log("ack", event, reply, performance.now() - at);
    } catch (error) {
      reply = { error: error.message };
      this.log("ack", event, error.message);
    }
    this.answered(event, payload, ask ? reply : { success: true });
    this.render();
  }

  answered(event, payload, reply) {
    if (!this.isCall(payload?.callId)) {
      // Dialled by hand during another call, which the server has ended for this one.
      if (event === "call:initiate" && reply?.success) this.begin(payload, "caller", "calling", payload.receiverId);
      return;
    }
    this.call.pending = false;
    if (!this.live) return;
    this.call.note = reply?.success ? "" : reply?.error ?? "an ack without an answer";
    if (event === "call:initiate") {
      // Without a code the ack was lost on the way: session:ready will tell.
      const refused = reply?.success === false && !reply.useFcmFallback;
      if (refused) this.over(reply.retryAfterMs ? `${reply.error}, again in ${Math.ceil(reply.retryAfterMs / 1000)} s` : reply.error);
    } else if (OVER.includes(reply?.code)) {
      this.over(reply.error);
    } else if (reply?.success && event === "call:accept") {
      this.activate();
    } else if (reply?.success && event in OWN_END) {
      this.over(OWN_END[event]);
    }
  }

  receive(name, payload, reply) {
    const ms = latency.received(name, payload, this);
    this.log("in", name, payload, ms);
    if (name === "session:ready") this.resume(payload ?? {});
    else if (name === "call:incoming" && payload?.callId) this.incoming(payload);
    else if (this.live && this.isCall(payload?.callId)) this.told(name, payload);
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
    if (!this.live || !this.isCall(callId)) this.begin(payload, "callee", "ringing", peer);
    this.call.peer = peer;
    this.call.expiresAt = payload.expiresInMs === undefined ? undefined : Date.now() + payload.expiresInMs;
    this.alert();
  }

  alert() {
    if (!this.fields.acks.checked || this.call.state !== "ringing" || this.alerted === this.call.callId) return;
    this.alerted = this.call.callId;
    this.send("call:ringing", { callId: this.call.callId });
  }

  told(name, payload) {
    switch (name) {
      case "call:ringing": this.call.note = "their phone rings"; break;
      case "call:accepted": this.activate(); break;
      case "call:reject:confirmed": this.over(OWN_END["call:reject"]); break;
      case "call:busy": this.over(payload.reason ?? "User is busy"); break;
      case "call:rejected": case "call:cancelled": case "call:ended": case "call:timeout":
        this.over(payload.reason ?? name.slice(5)); break;
      case "call:upgrade:request": this.call.note = "asks for video; answer under Advanced"; break;
      case "call:upgrade:response": this.call.note = payload.accepted ? "video accepted" : "video declined"; break;
    }
  }

  /** Takes the server's word, after a connect, on what became of the call. */
  resume({ call, ended }) {
    if (call) {
      const state = call.state === "active" ? "active" : call.role === "caller" ? "calling" : "ringing";
      if (!this.live || !this.isCall(call.callId)) this.begin(call, call.role, state, call.peerId);
      if (state === "active") this.activate();
      else this.call.expiresAt = call.expiresInMs === undefined ? undefined : Date.now() + call.expiresInMs;
      this.alert();
    } else if (this.live && this.call.link !== this.links) {
      this.over(ended?.find((past) => this.isCall(past.callId))?.reason?.replaceAll("_", " ") ?? "the call is over");
    }
  }

  begin({ callId, callType }, role, state, peer) {
    this.call = { callId, role, state, peer, type: callType, note: "", pending: false, link: this.links };
  }

  activate() {
    this.call.state = "active";
    this.call.note = "";
    this.call.since ??= Date.now();
  }

  over(reason) {
    const lasted = this.call.since && Date.now() - this.call.since;
    Object.assign(this.call, { state: "ended", reason, note: lasted ? `lasted ${clock(lasted)}` : "" });
  }

  show(name, text) {
    const node = this.root.querySelector(`[data-show=${name}]`);
    // An unchanged text written again would be read out again.
    if (node.textContent !== text) node.textContent = text;
  }

  headline() {
    if (this.live) {
      const { state, peer } = this.call;
      return { calling: `calling ${peer}…`, ringing: `${peer} is calling`, active: "in call" }[state];
    }
    const { state, detail } = this.link;
    if (!this.online) return state === "refused" ? `${LINKS[state]}: ${detail}` : LINKS[state];
    return this.call ? `ended: ${this.call.reason}` : "idle";
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
    this.show("who", `${this.user || this.side}: `);
    const headline = this.headline();
    this.show("state", headline);
    const about = this.live || (this.call && this.online);
    this.show("detail", about ? [this.call.type, this.call.callId, this.call.note].filter(Boolean).join(" · ") : "no call");
    const link = LINKS[state] + (detail && `: ${detail}`) + (this.online ? ` to ${this.fields.server.value}` : "");
    this.show("link", link === headline ? "" : link);
    this.show("connect", this.wanted ? "Disconnect" : "Connect");
    this.root.querySelector(".settings").disabled = this.wanted;
    const focused = document.activeElement;
    const both = document.getElementById("connect-both");
    both.disabled = phones.every((phone) => phone.wanted);
    for (const [name, button] of Object.entries(this.buttons)) button.disabled = !this.can(name);
    // A button that goes out takes the focus with it; from the group the next Tab reaches the next live button.
    if (focused?.disabled && (this.root.contains(focused) || focused === both)) {
      (focused === both ? phones[0] : this).root.querySelector(".actions").focus();
    }
    const list = this.logRoot.querySelector("ol");
    list.prepend(...this.undrawn.splice(0).map(entry).reverse());
    while (list.childElementCount > LOG_ENTRIES) list.lastElementChild.remove();
    latency.render();
    this.tick();
    this.save();
  }

  tick() {
    const { state, since, expiresAt } = this.call ?? {};
    const left = expiresAt === undefined ? 0 : Math.ceil((expiresAt - Date.now()) / 1000);
    const waits = state === "ringing" || state === "calling";
    this.show("timer", state === "active" ? clock(Date.now() - since) : waits && left > 0 ? `${left} s` : "");
  }

  log(direction, name, payload, ms) {
    this.undrawn.push({ now: new Date(), direction, name, payload, ms });
    this.render();
  }
}

function entry({ now, direction, name, payload, ms }) {
  const time = `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`;
  const summary = document.createElement("summary");
  summary.append(element("time", "", time), element("span", "direction", direction), element("span", "name", name));
  if (ms !== undefined) summary.append(element("span", "ms", `${ms.toFixed(1)} ms`));
  const text = payload === undefined ? "no payload" : typeof payload === "string" ? payload : JSON.stringify(payload, null, 2);
  const details = document.createElement("details");
  details.append(summary, element("pre", "", text));
  const item = element("li", direction, "");
  item.append(details);
  return item;
}

/** Payloads to start from, filled in for this phone as it stands. */
function templates(phone) {
  const fresh = `call-${Date.now()}`;
  const callId = phone.call?.callId ?? fresh;
  const [senderId, receiverId, timestamp] = [phone.user, other(phone).user, Date.now()];
  const upgrade = { callId, receiverId, senderId, timestamp };
  return {
    "call:initiate": {
      receiverId, callId: fresh, callType: phone.fields.type.value, channelName: `channel-${fresh}`, agoraToken: "",
    },
    "call:ringing": { callId },
    "call:accept": { callId },
    "call:reject": { callId, reason: "User declined" },
    "call:cancel": { callId, reason: "Caller ended call" },
    "call:end": { callId },
    "call:upgrade": upgrade,
    "call:upgrade:response": { ...upgrade, accepted: true },
    "call:message": { callId, data: { text: "hello" } },
    "presence:subscribe": { userIds: [receiverId] },
    "presence:unsubscribe": { userIds: [receiverId] },
  };
}

const phones = [];
const other = (phone) => phones[phone === phones[0] ? 1 : 0];
const fields = (user) => ({ user, token: `token-of-${user}`, server: location.origin, acks: true });
phones.push(new Phone("left", fields("Ana")), new Phone("right", fields("Bo")));
document.getElementById("phones").append(...phones.map((phone) => phone.root));
document.getElementById("logs").append(...phones.map((phone) => phone.logRoot));
document.getElementById("event-names").append(
  ...Object.keys(templates(phones[0])).map((name) => Object.assign(document.createElement("option"), { value: name })),
);

const connectBoth = () => phones.filter((phone) => !phone.wanted).forEach((phone) => phone.connect());
document.getElementById("connect-both").addEventListener("click", connectBoth);
document.getElementById("clear-latency").addEventListener("click", () => latency.clear());
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (typing || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (!document.getElementById("use-keys").checked) return;
  const key = event.key.toLowerCase();
  const name = Object.keys(KEYS).find((name) => KEYS[name] === key);
  if (name) phones[event.shiftKey ? 1 : 0].act(name);
  else if (key === "b") connectBoth();
});
setInterval(() => phones.forEach((phone) => phone.tick()), 250);

for (const phone of phones) {
  phone.draw();
  // The page was reloaded: the phone comes back like an app that was restarted.
  if (phone.wanted) phone.connect();
}
