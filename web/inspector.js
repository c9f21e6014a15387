// Nodes, live calls, people, and what became of a call. The address keeps what was looked for: #find=<call or user>.
import { drawCourse } from "./sequence.js";

const at = (id) => document.getElementById(id);
const time = (millis) => new Date(millis).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
let cursor;

function element(name, content, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...[content].flat());
  return made;
}

const link = (id) => element("a", id, { href: `#find=${encodeURIComponent(id)}` });
const row = (...cells) => element("tr", cells.map((cell) => element("td", cell ?? "")));
const nothing = (columns, text) => element("tr", element("td", text, { colSpan: columns, className: "muted" }));

async function ask(path) {
  const response = await fetch(`/inspector/${path}`);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
}

/** A step as the diagram takes it: what has no two ends is a note. */
function entry({ afterMs, way, party, node, text }) {
  const server = node ?? "unknown node";
  const isArrow = way !== "note" && party !== undefined;
  return { at: afterMs, phone: party, user: party, server, text, direction: isArrow ? (way === "to_node" ? "out" : "in") : "link" };
}

function showCall(call) {
  at("call").hidden = !call;
  if (!call) return;
  at("call-title").textContent = call.callId;
  at("as-text").href = `/inspector/text/${encodeURIComponent(call.callId)}`;
  at("why").textContent = call.why.sentence;
  at("why").dataset.cause = call.why.cause;
  const facts = { state: [call.state, call.reason].filter(Boolean).join(", "), caller: link(call.callerId), callee: link(call.receiverId), type: call.callType, created: time(call.createdAt) };
  at("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).map(([name, value]) => element("div", [element("dt", name), element("dd", value)])));
  const course = call.course.map(entry);
  at("course").replaceChildren(course.length ? drawCourse(`Sequence of call ${call.callId}`, course) : element("p", "Nothing is recorded of it.", { className: "muted" }));
}

function showPerson(person) {
  const calls = person === null ? [] : [
    ...(person.call ? [row(link(person.call.callId), person.call.state, time(person.call.createdAt))] : []),
    ...person.ended.map(({ callId, reason, endedAt }) => row(link(callId), `ended, ${reason}`, time(endedAt))),
  ];
  at("person").hidden = !person;
  if (!person) return;
  at("person-title").textContent = person.userId;
  at("person-line").textContent = person.unreadable ? "Busy, with a call that this version can't read." : person.call ? "Busy." : "Not busy.";
  const sessions = person.sessions.map(({ device, node, acks, connectedAt }) => row(device ?? "without a name", node, acks ? "yes" : "no", time(connectedAt)));
  at("sessions").replaceChildren(...(sessions.length ? sessions : [nothing(4, "No phone is connected.")]));
  at("own-calls").replaceChildren(...(calls.length ? calls : [nothing(3, "No call of the last minutes.")]));
}

async function find() {
  const text = new URLSearchParams(location.hash.slice(1)).get("find")?.trim();
  if (!text) return;
  at("find").elements.text.value = text;
  const { call, user } = await ask(`find/${encodeURIComponent(text)}`);
  showCall(call);
  showPerson(user);
  at("said").textContent = call || user ? "" : `Nothing is known of ${text}. A call is forgotten some minutes after its end.`;
}

async function nodes() {
  const answer = await ask("nodes");
  const rows = answer.nodes.map(({ node, isSelf, lives, sessions, renewedMs, says }) => row(
    isSelf ? `${node}, asked` : node,
    lives ? says?.state.replace("_", " ") ?? "does not say" : "gone",
    String(says?.sessions ?? sessions), String(says?.storeMs ?? renewedMs), says ? String(says.busMs) : "", says?.version,
  ));
  at("nodes").replaceChildren(...rows);
}

async function live(more) {
  const page = await ask(more && cursor ? `calls?cursor=${cursor}` : "calls");
  cursor = page.nextCursor;
  at("live-title").textContent = `Live calls: ${page.total}`;
  at("more").hidden = cursor === undefined;
  const rows = page.calls.map(({ callId, state, callerId, receiverId, createdAt }) => row(link(callId), state, link(callerId), link(receiverId), time(createdAt)));
  if (more) at("live").append(...rows);
  else at("live").replaceChildren(...(rows.length ? rows : [nothing(5, "None.")]));
}

/** Does it, and says why it failed if it did. */
const attempt = (work) => () => work().catch(({ message }) => { at("said").textContent = `The node can't say: ${message}`; });

at("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const next = `#find=${encodeURIComponent(at("find").elements.text.value.trim())}`;
  if (location.hash === next) attempt(find)();
  else location.hash = next;
});
addEventListener("hashchange", attempt(find));
at("refresh").addEventListener("click", attempt(() => Promise.all([find(), nodes(), live(false)])));
at("more").addEventListener("click", attempt(() => live(true)));
attempt(() => Promise.all([find(), nodes(), live(false)]))();
