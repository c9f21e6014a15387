// What a backend in trouble does to the phones: the load test at 50 calls a second over two nodes, with a well receiver
// of webhooks and one in a bad mood in turn, and the ratio of the 95th percentiles pair by pair. Afterwards the receiver
// is well again, and every event of every call has to arrive. A measurement, for a quiet machine and release builds:
// `node backend.mjs [pairs] [seconds]`, SIGNALING_BIN and LOADTEST_BIN name the binaries.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cluster, folder } from './cluster.mjs';

const PAIRS = Number(process.argv[2] ?? 5);
const SECONDS = Number(process.argv[3] ?? 8);
const LOADTEST = process.env.LOADTEST_BIN ?? fileURLToPath(new URL('../../target/release/loadtest', import.meta.url));
const KINDS = ['reject→rejected', 'accept→accepted', 'end→ended'];

/** Answers by mood; what was accepted is kept by the call and type of its event. */
const MOODS = {
  well: (response) => response.writeHead(204).end(),
  sleeps: () => {},
  busy: (response) => response.writeHead(429, { 'retry-after': '1' }).end(),
  broken: (response) => response.writeHead(500).end('<h1>oops</h1>'),
  garbage: (response) => response.socket.end('not HTTP at all'),
  silent: (response) => response.socket.destroy(),
};
let mood = 'well';
const types = new Map();
const receiver = createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => {
    if (mood === 'well') {
      const { type, data } = JSON.parse(body);
      types.set(data.callId, (types.get(data.callId) ?? new Set()).add(type));
    }
    MOODS[mood](response);
  });
});
await new Promise((done) => receiver.listen(0, '127.0.0.1', done));

const cluster = await Cluster.start(['A', 'B'], {
  EVENTS_PER_MINUTE: '0',
  API_REQUESTS_PER_SECOND: '0',
  WEBHOOK_URL: `http://127.0.0.1:${receiver.address().port}/hook`,
  WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
  WEBHOOK_ALLOW_PRIVATE: 'true',
});
let failed = false;
let calls = 0;
for (const bad of Object.keys(MOODS).filter((name) => name !== 'well')) {
  const ratios = Object.fromEntries(KINDS.map((kind) => [kind, []]));
  const excess = Object.fromEntries(KINDS.map((kind) => [kind, []]));
  for (let pair = 0; pair < PAIRS; pair += 1) {
    mood = 'well';
    const well = await measure(`well-${bad}-${pair}`);
    mood = bad;
    const ill = await measure(`${bad}-${pair}`);
    for (const kind of KINDS) {
      ratios[kind].push(ill[kind] / well[kind]);
      excess[kind].push(ill[kind] - (1.2 * well[kind] + 1));
    }
  }
  for (const kind of KINDS) {
    const over = median(excess[kind]);
    failed ||= over > 0;
    console.log(`${bad}: ${kind}: median ratio of p95 ${median(ratios[kind]).toFixed(2)}, against 1.2 × + 1 ms: ${over.toFixed(2)} ms`);
  }
}
mood = 'well';
const ends = ['call.rejected', 'call.cancelled', 'call.missed', 'call.ended'];
const whole = () => [...types.values()].filter((of) => of.has('call.initiated') && ends.some((end) => of.has(end))).length;
for (let waited = 0; whole() < calls && waited < 400; waited += 1) await new Promise((done) => setTimeout(done, 1000));
console.log(`${whole()} of ${calls} calls are told from their beginning to their end`);
process.exit(failed || whole() < calls ? 1 : 0);

/** The 95th percentiles of one run, in milliseconds. */
async function measure(name) {
  const file = join(folder, `${name}.json`);
  const nodes = cluster.nodes.map(({ url }) => url).join(',');
  const args = ['calls', '--rate', '50', '--duration', `${SECONDS}s`, '--phones', '400', '--nodes', nodes, '--json', file];
  const run = spawn(LOADTEST, args, { stdio: ['ignore', 'ignore', 'ignore'] });
  const code = await new Promise((done) => run.on('exit', done));
  if (code !== 0) throw new Error(`the load test ended with ${code}`);
  const { figures } = JSON.parse(readFileSync(file, 'utf8'));
  calls += figures.latency['initiate→incoming'].count;
  return Object.fromEntries(KINDS.map((kind) => [kind, figures.latency[kind].p95_ms]));
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
