// The course of one call, as the phones of this page saw it: a sequence diagram.
import { bare } from "./call.js";

const SVG = "http://www.w3.org/2000/svg";
const [LEFT, COLUMN, TOP, ROW, HEAD] = [76, 168, 48, 28, 5];
const KEPT = 2000;

/** What was said and heard, in order: `{ at, phone, user, server, direction, name, callId, text }`. */
const entries = [];

export function record(entry) {
  entries.push({ at: performance.now(), ...entry, callId: bare(entry.callId) });
  if (entries.length > KEPT) entries.shift();
}

/** The ids of all calls, the newest first, each with who spoke of it first. */
export function calls() {
  const found = new Map();
  for (const { callId, user } of entries) if (callId && !found.has(callId)) found.set(callId, user);
  return [...found].reverse();
}

/** What belongs to a call, and what became of its phones' connections meanwhile. */
function courseOf(callId) {
  const own = entries.filter((entry) => entry.callId === callId);
  const phones = new Set(own.map(({ phone }) => phone));
  const [from, to] = [own[0]?.at, own.at(-1)?.at];
  return entries.filter((entry) => entry.callId === callId
    || (entry.direction === "link" && phones.has(entry.phone) && entry.at >= from && entry.at <= to));
}

/** The columns: each phone beside its server, the first one's to the right of it, the others' to the left. */
function columnsOf(course) {
  const columns = [];
  for (const { phone, user, server } of course) {
    if (columns.some((column) => column.phone === phone)) continue;
    const known = columns.some((column) => column.server === server);
    const own = { phone, title: columns.some(({ title }) => title === user) ? `${user} (${phone})` : user };
    if (columns.length === 0) columns.push(own, { server, title: server.replace(/^\w+:\/\//, "") });
    else columns.push(...(known ? [] : [{ server, title: server.replace(/^\w+:\/\//, "") }]), own);
  }
  return columns;
}

/** The diagram of a call. `ink` and `paper` are colours; without paper it is transparent. */
export function draw(callId, ink = "currentColor", paper) {
  const course = courseOf(callId);
  const columns = columnsOf(course);
  const x = (column) => LEFT + COLUMN * columns.indexOf(column) + COLUMN / 2;
  const [width, height] = [LEFT + COLUMN * columns.length, TOP + ROW * (course.length + 1)];
  const svg = make("svg", {
    xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "font-family": "system-ui, sans-serif", "font-size": 12,
    "aria-label": `Sequence of call ${callId}: ${course.length} steps between ${columns.map(({ title }) => title).join(", ")}`,
  });
  if (paper) svg.append(make("rect", { width, height, fill: paper }));
  for (const column of columns) {
    svg.append(text(column.title, { x: x(column), y: 22, fill: ink, "text-anchor": "middle", "font-weight": column.phone ? 600 : 400 }));
    svg.append(make("line", { x1: x(column), y1: 32, x2: x(column), y2: height - 8, stroke: ink, "stroke-opacity": 0.35 }));
  }
  for (const [at, entry] of course.entries()) {
    const y = TOP + ROW * (at + 1) - 6;
    const phone = x(columns.find((column) => column.phone === entry.phone));
    svg.append(text(`${((entry.at - course[0].at)).toFixed(0)} ms`, { x: LEFT - 10, y: y + 4, fill: ink, "text-anchor": "end", "fill-opacity": 0.75 }));
    if (entry.direction === "link") {
      svg.append(text(entry.text, { x: phone, y: y + 4, fill: ink, "text-anchor": "middle", "font-style": "italic" }));
      continue;
    }
    const server = x(columns.find((column) => column.server === entry.server));
    const [from, to] = entry.direction === "out" ? [phone, server] : [server, phone];
    svg.append(...arrow(from, to, y, ink, entry.dashed));
    // Beside the arrow where it leads to a neighbour; over a longer one, next to the phone.
    const middle = phone + Math.sign(server - phone) * COLUMN / 2;
    svg.append(text(entry.text, { x: middle, y: y - 5, fill: ink, "text-anchor": "middle" }));
  }
  return svg;
}

function arrow(from, to, y, ink, dashed) {
  const back = Math.sign(from - to) * HEAD;
  return [
    make("line", { x1: from, y1: y, x2: to, y2: y, stroke: ink, ...(dashed ? { "stroke-dasharray": "4 3" } : {}) }),
    make("path", { d: `M${to} ${y} l${back} ${-HEAD + 1} v${2 * HEAD - 2} z`, fill: ink }),
  ];
}

function make(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (key !== "xmlns") node.setAttribute(key, value);
  return node;
}

function text(content, attributes) {
  const node = make("text", attributes);
  node.textContent = content.length > 26 ? `${content.slice(0, 25)}…` : content;
  return node;
}

/** The diagram as a file, dark on white. */
export function asFile(callId) {
  return new XMLSerializer().serializeToString(draw(callId, "#1b222c", "#ffffff"));
}
