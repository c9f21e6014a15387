// Measured times between an emit on one phone and the receipt on another, in ms.
import { bare } from "./call.js";
import { element } from "./log.js";

const ANSWERS = {
  "call:initiate": "call:incoming",
  "call:accept": "call:accepted",
  "call:reject": "call:rejected",
  "call:cancel": "call:cancelled",
  "call:end": "call:ended",
};
const SVG = "http://www.w3.org/2000/svg";
// Buckets of a histogram: each twice as wide as the one before, the last without an end.
const FIRST_MS = 0.5;
const BUCKETS = 12;
const [BAR, HEIGHT] = [8, 20];

const pending = new Map();
const samples = new Map(Object.keys(ANSWERS).map((event) => [event, []]));

/** `receivers` are the phones that may hear what the event causes. */
export function sent(event, payload, receivers) {
  if (!(event in ANSWERS) || !payload?.callId) return;
  // Towards a phone that is away the time would measure its absence.
  const waiting = new Set(receivers.filter((phone) => phone.online));
  if (waiting.size) pending.set(`${ANSWERS[event]} ${bare(payload.callId)}`, { event, waiting, at: performance.now() });
}

/** The ms since the emit that `name` answers, where `phone` was waiting for it. */
export function received(name, payload, phone) {
  const mark = pending.get(`${name} ${bare(payload?.callId)}`);
  if (!mark?.waiting.delete(phone)) return undefined;
  const ms = performance.now() - mark.at;
  samples.get(mark.event).push(ms);
  return ms;
}

/** What a phone hears after it was away is a replay and says nothing about the wire. */
export function forget(phone) {
  for (const mark of pending.values()) mark.waiting.delete(phone);
}

export function clear() {
  for (const all of samples.values()) all.length = 0;
  draw();
}

export function draw() {
  const rows = [...samples].map(([event, all]) => {
    const row = document.createElement("tr");
    row.dataset.event = event;
    const title = element("th", "", `${event.slice(5)} → ${ANSWERS[event].slice(5)}`);
    title.scope = "row";
    const sorted = all.toSorted((a, b) => a - b);
    const middle = sorted.length >> 1;
    const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    const values = sorted.length ? [all.at(-1), sorted[0], median, sorted.at(-1)] : Array(4).fill(undefined);
    row.append(title, ...values.map((ms) => element("td", "", ms?.toFixed(1) ?? "–")), element("td", "", all.length));
    const cell = document.createElement("td");
    cell.append(histogram(all));
    row.append(cell);
    return row;
  });
  document.getElementById("latency").replaceChildren(...rows);
}

function histogram(all) {
  const counts = Array(BUCKETS).fill(0);
  for (const ms of all) counts[Math.min(BUCKETS - 1, Math.max(0, Math.floor(Math.log2(ms / FIRST_MS)) + 1))] += 1;
  const most = Math.max(1, ...counts);
  const svg = document.createElementNS(SVG, "svg");
  const set = (node, attributes) => Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  const full = counts.flatMap((count, at) => (count ? [`${bucket(at)}: ${count}`] : []));
  set(svg, { width: BAR * BUCKETS, height: HEIGHT, class: "histogram", role: "img", "aria-label": full.join(", ") || "none yet" });
  for (const [at, count] of counts.entries()) {
    const bar = document.createElementNS(SVG, "rect");
    const height = count ? Math.max(2, (HEIGHT - 1) * count / most) : 1;
    set(bar, { x: at * BAR, y: HEIGHT - height, width: BAR - 2, height, class: count ? "full" : "empty" });
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${bucket(at)}: ${count}`;
    bar.append(title);
    svg.append(bar);
  }
  return svg;
}

function bucket(at) {
  const end = FIRST_MS * 2 ** at;
  return at === BUCKETS - 1 ? `from ${end / 2} ms` : `below ${end} ms`;
}
