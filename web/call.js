// What a phone of this page knows about its call. Plain objects, so that a reload can keep them.

export const OWN_END = { "call:reject": "you declined", "call:cancel": "you cancelled", "call:end": "you hung up" };
// A refusal with one of these codes means that the call is over for this phone; any other may pass.
const OVER = ["invalid_state", "call_not_found", "not_a_participant"];

export const bare = (callId) => String(callId ?? "").replace(/^CALL_/, "");
const twoDigits = (n) => String(n).padStart(2, "0");
export const clock = (ms) => `${twoDigits(Math.floor(ms / 60_000))}:${twoDigits(Math.floor(ms / 1000) % 60)}`;

/** `link` is the number of the connection it began in: a snapshot of an older one does not judge it. */
export function begin({ callId, callType }, role, state, peer, link) {
  return { callId, role, state, peer, type: callType, note: "", pending: false, link };
}

export function activate(call) {
  call.state = "active";
  call.note = "";
  call.since ??= Date.now();
}

export function over(call, reason) {
  const lasted = call.since && Date.now() - call.since;
  Object.assign(call, { state: "ended", reason, note: lasted ? `lasted ${clock(lasted)}` : "" });
}

/** Takes an event about this call. */
export function told(call, name, payload) {
  switch (name) {
    case "call:ringing": call.note = "their phone rings"; break;
    case "call:accepted": activate(call); break;
    case "call:reject:confirmed": over(call, OWN_END["call:reject"]); break;
    case "call:busy": over(call, payload.reason ?? "User is busy"); break;
    case "call:message":
      // Kept ones come again after each reconnect.
      if (payload.order <= call.heard) break;
      call.heard = payload.order;
      call.note = `“${typeof payload.data === "object" ? payload.data?.text ?? JSON.stringify(payload.data) : payload.data}”`;
      break;
    case "call:rejected": case "call:cancelled": case "call:ended": case "call:timeout":
      over(call, payload.reason ?? name.slice(5)); break;
  }
}

/** Takes the acknowledgement of what this phone said about the call. */
export function answered(call, event, reply) {
  call.pending = false;
  if (call.state === "ended") return;
  if (event === "call:message" && reply?.handedTo?.length === 0) call.note = "nobody is there to hear it";
  else if (event !== "call:message" || !reply?.success) call.note = reply?.success ? "" : reply?.error ?? "an ack without an answer";
  if (event === "call:initiate") {
    // Without a code the ack was lost on the way: session:ready will tell.
    const refused = reply?.success === false && !reply.useFcmFallback;
    if (refused) over(call, reply.retryAfterMs ? `${reply.error}, again in ${Math.ceil(reply.retryAfterMs / 1000)} s` : reply.error);
  } else if (OVER.includes(reply?.code)) {
    over(call, reply.error);
  } else if (reply?.success && event === "call:accept") {
    activate(call);
  } else if (reply?.success && event in OWN_END) {
    over(call, OWN_END[event]);
  }
}

export function headline({ state, peer, reason }) {
  return { calling: `calling ${peer}…`, ringing: `${peer} is calling`, active: "in call", ended: `ended: ${reason}` }[state];
}
