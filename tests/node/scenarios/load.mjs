// Many calls at the same time: every event once, to the right phone, none after the end.
import { RING_MS } from '../cluster.mjs';
import { MODES } from '../phone.mjs';
import { ENDED } from './calls.mjs';

const PAIRS = 40;
const OUTCOMES = 5;

export const load = {
  async [`${PAIRS * OUTCOMES} calls of ${PAIRS} pairs`](stage) {
    const tally = new Tally();
    await Promise.all(Array.from({ length: PAIRS }, (_, pair) => play(stage, pair, tally)));
    return tally.lines();
  },
};

/** Call number i ends in the way i % 5 says. The ring that nobody answers comes first: while it lasts, the other
 *  scenarios of this act get their crowd of handshakes behind them. */
async function play(stage, pair, tally) {
  const modes = Object.keys(MODES);
  const [here, there] = pair % 2 ? [stage.b, stage.a] : [stage.a, stage.b];
  const acks = pair % 4 === 3; // a new app among the deployed ones
  const ana = stage.phone(`ana ${pair}`, here, { mode: modes[pair % 3], acks });
  const bo = stage.phone(`bo ${pair}`, there, { mode: modes[Math.floor(pair / 3) % 3], acks });
  // Calls may begin while the websocket still takes over.
  await Promise.all([ana, bo].map((phone) => phone.connect({ upgraded: false })));
  for (const outcome of [4, 0, 1, 2, 3]) {
    const call = await ana.rings(bo);
    const kind = outcome === 4 ? 'initiate → incoming, in the opening crowd' : 'initiate → incoming';
    tally.event(kind, call.incoming.at - call.dialledAt);
    await outcomes[outcome]({ ana, bo, call, tally, pair });
  }
  for (const phone of [ana, bo]) {
    const transport = phone.mode === 'polling' ? 'polling' : 'websocket';
    if (phone.transport !== transport) throw new Error(`${phone} ended up on ${phone.transport}`);
  }
}

const outcomes = [
  async function acceptedAndEnded({ ana, bo, call, tally }) {
    await accept(ana, bo, call, tally);
    await said(tally, 'end → ended', ana, 'call:end', call, bo, 'call:ended', { endedBy: ana.user, ...ENDED });
    tally.outcome('accepted, ended by the caller');
  },
  async function rejected({ ana, bo, call, tally }) {
    await Promise.all([
      said(tally, 'reject → rejected', bo, 'call:reject', call, ana, 'call:rejected', { reason: 'User declined' }),
      bo.expect('call:reject:confirmed', { callId: call.id }),
    ]);
    tally.outcome('rejected');
  },
  async function cancelled({ ana, bo, call, tally }) {
    await said(tally, 'cancel → cancelled', ana, 'call:cancel', call, bo, 'call:cancelled', { reason: 'Caller ended call' });
    tally.outcome('cancelled');
  },
  async function endedByCallee({ ana, bo, call, tally, pair }) {
    await accept(ana, bo, call, tally);
    // Some talk long enough to hear that the accept is said again.
    if (pair % 4 === 0) await ana.repetition(call);
    await said(tally, 'end → ended', bo, 'call:end', call, ana, 'call:ended', { endedBy: bo.user, ...ENDED });
    tally.outcome('accepted, ended by the callee');
  },
  async function timedOut({ ana, bo, call, tally }) {
    const within = { within: RING_MS + 2000 };
    const [timeout] = await Promise.all([
      ana.expect('call:timeout', { callId: call.id, reason: 'No answer' }, within),
      bo.expect('call:cancelled', { callId: call.id, reason: 'Timeout' }, within),
    ]);
    const { timestamp, expiresInMs } = call.incoming.payload;
    tally.event('ring deadline → timeout', performance.timeOrigin + timeout.at - timestamp - expiresInMs);
    tally.outcome('timed out');
  },
];

function accept(ana, bo, call, tally) {
  return said(tally, 'accept → accepted', bo, 'call:accept', call, ana, 'call:accepted', { receiverId: bo.user });
}

/** One phone says, the other hears; the time between goes into the tally. */
async function said(tally, kind, speaker, command, call, listener, event, fields) {
  const start = performance.now();
  const state = command === 'call:accept' ? 'active' : 'ended';
  const [heard] = await Promise.all([
    listener.expect(event, { callId: call.id, ...fields }),
    speaker.does(command, call, state),
  ]);
  tally.event(kind, heard.at - start);
}

class Tally {
  #outcomes = new Map();
  #times = new Map();

  outcome(name) {
    this.#outcomes.set(name, (this.#outcomes.get(name) ?? 0) + 1);
  }

  event(kind, time) {
    if (!this.#times.has(kind)) this.#times.set(kind, []);
    this.#times.get(kind).push(time);
  }

  lines() {
    const latencies = [...this.#times].map(([kind, times]) => {
      times.sort((a, b) => a - b);
      const [median, p95, p99] = [0.5, 0.95, 0.99].map((share) => times[Math.ceil(share * times.length) - 1].toFixed(1).padStart(6));
      return `${kind.padEnd(42)} ${String(times.length).padStart(4)} times, ms: median ${median}, p95 ${p95}, p99 ${p99}`;
    });
    return [[...this.#outcomes].map(([name, count]) => `${count} ${name}`).join(', '), ...latencies];
  }
}
