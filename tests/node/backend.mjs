// What a backend in trouble does to the phones: the load test at 50 calls a second over two nodes, with a Laravel that is
// well and one in a bad mood in turn, and the ratio of the 95th percentiles pair by pair. After each it is well again,
// and every webhook of every call has to arrive, first deliveries in order. A measurement, for a quiet machine and
// release builds: `node backend.mjs [pairs] [seconds]`, SIGNALING_BIN and LOADTEST_BIN name the binaries.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, folder } from './cluster.mjs';

const PAIRS = Number(process.argv[2] ?? 5);
const SECONDS = Number(process.argv[3] ?? 8);
const LOADTEST = process.env.LOADTEST_BIN ?? fileURLToPath(new URL('../../target/release/loadtest', import.meta.url));
const PHONES = 400;
const RECOVERY_MS = 400_000;
const KINDS = ['reject→rejected', 'accept→accepted', 'end→ended'];

const MOODS = {
  well: (response) => response.writeHead(204).end(),
  sleeps: () => {},
  busy: (response) => response.writeHead(429, { 'retry-after': '1' }).end(),
  broken: (response) => response.writeHead(500).end('<h1>oops</h1>'),
  garbage: (response) => response.socket.end('not HTTP at all'),
  silent: (response) => response.socket.destroy(),
};
/** A whole Laravel: tokens, the REST API of the deployed app, webhooks. The phones of a run connect while it is well;
 *  when it has verified the last of them its mood is that of the run. */
let mood = 'well';
let run = { mood: 'well', verified: 0 };
const letters = new Map();
const calls = { made: 0, told: new Map(), faults: [] };
const laravel = createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => {
    const webhook = request.url === '/hook';
    if (mood !== 'well') return MOODS[mood](response);
    if (webhook) received(request.headers['webhook-id'], body);
    if (webhook || request.method === 'POST') return MOODS.well(response);
    const user = /^Bearer token-of-(\S+)$/.exec(request.headers.authorization)?.[1];
    const status = user && request.url.endsWith('/users/me') ? 200 : user ? 404 : 401;
    const error = { success: false, error: { code: user ? 'NOT_FOUND' : 'UNAUTHENTICATED' } };
    const answer = status === 200 ? { success: true, data: { id: user, name: user } } : error;
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    if (status === 200 && (run.verified += 1) === PHONES) mood = run.mood;
  });
});
await new Promise((done) => laravel.listen(0, '127.0.0.1', done));
const LARAVEL = `http://127.0.0.1:${laravel.address().port}`;

/** One id is one letter; the first deliveries of a call come in their order, but for pushes, which wait for none. */
function received(id, body) {
  const { type, data: { callId, seq } } = JSON.parse(body);
  const known = letters.get(id);
  if (known !== undefined) {
    if (known !== body) calls.faults.push(`${id} came with another body`);
    return;
  }
  letters.set(id, body);
  const told = calls.told.get(callId) ?? [];
  calls.told.set(callId, told);
  if (told.some((letter) => letter.type === type && type !== 'call.verify')) calls.faults.push(`${callId}: ${type} came under two ids`);
  if (type !== 'call.push_required' && told.some((letter) => letter.seq > seq && letter.type !== 'call.push_required')) {
    calls.faults.push(`${callId}: ${type} came after ${told.map((letter) => letter.type).join(', ')}`);
  }
  told.push({ type, seq });
}

const cluster = await Cluster.start(['A', 'B'], {
  EVENTS_PER_MINUTE: '0',
  API_REQUESTS_PER_SECOND: '0',
  AUTH: 'laravel',
  LARAVEL_API_URL: LARAVEL,
  WEBHOOK_URL: `${LARAVEL}/hook`,
  WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
  WEBHOOK_ALLOW_PRIVATE: 'true',
});
let failed = false;
for (const bad of Object.keys(MOODS).filter((name) => name !== 'well')) {
  const ratios = Object.fromEntries(KINDS.map((kind) => [kind, []]));
  const excess = Object.fromEntries(KINDS.map((kind) => [kind, []]));
  for (let pair = 0; pair < PAIRS; pair += 1) {
    const well = await measure('well', `well-${bad}-${pair}`);
    const ill = await measure(bad, `${bad}-${pair}`);
    await recovered(bad);
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
console.log(`${calls.made} calls, ${letters.size} letters, each call told from its beginning to its end`);
console.log(`${calls.faults.length} faults of order or of ids`);
for (const fault of calls.faults.slice(0, 20)) console.log(`  ${fault}`);
process.exit(failed || calls.faults.length ? 1 : 0);

/** Well again, until every call is told. */
async function recovered(from) {
  mood = 'well';
  const ends = ['call.rejected', 'call.cancelled', 'call.missed', 'call.ended'];
  const whole = () => [...calls.told.values()].filter((told) => {
    const types = told.map(({ type }) => type);
    return types.includes('call.initiated') && ends.some((end) => types.includes(end));
  }).length;
  const since = Date.now();
  while (whole() < calls.made) {
    if (Date.now() - since > RECOVERY_MS) throw new Error(`only ${whole()} of ${calls.made} calls are told whole after ${from}`);
    await delay(200);
  }
  console.log(`${from}: all ${calls.made} calls are told ${((Date.now() - since) / 1000).toFixed(1)} s after it was well again`);
}

/** The 95th percentiles of one run, in milliseconds. */
async function measure(temper, name) {
  mood = 'well';
  run = { mood: temper, verified: 0 };
  const file = join(folder, `${name}.json`);
  const nodes = cluster.nodes.map(({ url }) => url).join(',');
  const args = ['calls', '--rate', '50', '--duration', `${SECONDS}s`, '--phones', String(PHONES), '--nodes', nodes, '--json', file];
  const program = spawn(LOADTEST, args, { stdio: ['ignore', 'ignore', 'ignore'] });
  const code = await new Promise((done) => program.on('exit', done));
  if (code !== 0) throw new Error(`the load test ended with ${code}`);
  if (mood !== temper) throw new Error(`Laravel verified ${run.verified} phones of ${PHONES}`);
  const { figures } = JSON.parse(readFileSync(file, 'utf8'));
  calls.made += figures.latency['initiate→incoming'].count;
  return Object.fromEntries(KINDS.map((kind) => [kind, figures.latency[kind].p95_ms]));
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
