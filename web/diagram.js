// The course of one call, as the phones of this page saw it: a sequence diagram.
import { bare } from "./call.js";
import { drawCourse } from "./sequence.js";

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

/** The diagram of a call. `ink` and `paper` are colours; without paper it is transparent. */
export function draw(callId, ink, paper) {
  return drawCourse(`Sequence of call ${callId}`, courseOf(callId), ink, paper);
}

/** The diagram as a file, dark on white. */
export function asFile(callId) {
  return new XMLSerializer().serializeToString(draw(callId, "#1b222c", "#ffffff"));
}
