// What a phone that sends 200 events a second does to its neighbours: the load test at 50 calls a second over two nodes,
// with and without the flood in turn, and the ratio of the 99th percentiles pair by pair. A measurement, for a quiet
// machine and release builds: `node flood.mjs [pairs] [seconds]`, SIGNALING_BIN and LOADTEST_BIN name the binaries.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import { Cluster, folder } from './cluster.mjs';

const PAIRS = Number(process.argv[2] ?? 5);
const SECONDS = Number(process.argv[3] ?? 10);
const EVENTS_PER_SECOND = 200;
const TICK_MS = 25;
const LOADTEST = process.env.LOADTEST_BIN ?? fileURLToPath(new URL('../../target/release/loadtest', import.meta.url));
const KINDS = ['initiate→incoming', 'accept→accepted', 'end→ended'];

const cluster = await Cluster.start(['A', 'B'], { EVENTS_PER_MINUTE: '100', API_REQUESTS_PER_SECOND: '0' });
const ratios = Object.fromEntries(KINDS.map((kind) => [kind, []]));
const excess = Object.fromEntries(KINDS.map((kind) => [kind, []]));
for (let pair = 0; pair < PAIRS; pair += 1) {
  const quiet = await measure(`quiet-${pair}`);
  const flood = await startFlood(pair);
  const flooded = await measure(`flooded-${pair}`);
  const { limited, answered } = await flood.stop();
  for (const kind of KINDS) {
    ratios[kind].push(flooded[kind] / quiet[kind]);
    excess[kind].push(flooded[kind] - (1.2 * quiet[kind] + 1));
  }
  const shown = KINDS.map((kind) => `${kind} ${quiet[kind].toFixed(2)} → ${flooded[kind].toFixed(2)}`).join(', ');
  console.log(`pair ${pair + 1}: ${limited} of ${answered} events limited, its call ended; p99 ms: ${shown}`);
}
let failed = false;
for (const kind of KINDS) {
  const over = median(excess[kind]);
  failed ||= over > 0;
  console.log(`${kind}: median ratio of p99 ${median(ratios[kind]).toFixed(2)}, against 1.2 × + 1 ms: ${over.toFixed(2)} ms`);
}
process.exit(failed ? 1 : 0);

/** The 99th percentiles of one run, in milliseconds. */
async function measure(name) {
  const file = join(folder, `${name}.json`);
  const nodes = cluster.nodes.map(({ url }) => url).join(',');
  const args = ['calls', '--rate', '50', '--duration', `${SECONDS}s`, '--phones', '400', '--nodes', nodes, '--json', file];
  const run = spawn(LOADTEST, args, { stdio: ['ignore', 'ignore', 'ignore'] });
  const code = await new Promise((done) => run.on('exit', done));
  if (code !== 0) throw new Error(`the load test ended with ${code}`);
  const { latency } = JSON.parse(readFileSync(file, 'utf8')).figures;
  return Object.fromEntries(KINDS.map((kind) => [kind, latency[kind].p99_ms]));
}

/** A phone in a call that sends far too much; `stop` ends the call, which must not be refused. */
async function startFlood(pair) {
  const [eve, bo] = await Promise.all([connect(`USR_eve_${pair}`), connect(`USR_bo_${pair}`)]);
  const callId = `CALL_flood_${pair}_${Date.now()}`;
  const counts = { limited: 0, answered: 0 };
  await ask(eve, 'call:initiate', {
    receiverId: `USR_bo_${pair}`, callId, callType: 'AUDIO', channelName: 'c', agoraToken: '',
  });
  await ask(bo, 'call:accept', { callId });
  const timer = setInterval(() => {
    for (let sent = 0; sent < (EVENTS_PER_SECOND * TICK_MS) / 1000; sent += 1) {
      eve.emit('call:message', { callId: 'no-such-call', data: 'flood' }, (ack) => {
        counts.answered += 1;
        if (ack.code === 'rate_limited') counts.limited += 1;
      });
    }
  }, TICK_MS);
  return {
    async stop() {
      const ended = new Promise((done) => bo.once('call:ended', done));
      const ack = await ask(eve, 'call:end', { callId });
      clearInterval(timer);
      if (!ack.success) throw new Error(`its own call was not ended: ${JSON.stringify(ack)}`);
      await ended;
      eve.disconnect();
      bo.disconnect();
      return counts;
    },
  };
}

function connect(userId) {
  const socket = io(cluster.nodes[0].url, { transports: ['websocket'], auth: { token: 't', userId }, forceNew: true });
  return new Promise((done) => socket.once('session:ready', () => done(socket)));
}

function ask(socket, event, payload) {
  return socket.timeout(5000).emitWithAck(event, payload);
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
