// Schedules at random while nodes are killed: afterwards each phone says of its call what the server says.
//   SEEDS=200 node --test test/killed.test.mjs     plays more of them, and prints how long it took them to agree
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Program, Proxy, closePhones, logOf, phoneAt } from './stage.mjs';

const SEEDS = Number(process.env.SEEDS ?? 12);
const AT_ONCE = 20;
// What docs/client.md promises, and how long is waited before the run is given up.
const PROMISED_MS = 15_000;
const PATIENCE_MS = 60_000;

let cluster;
const proxies = [];
let killed = 0;
before(async () => {
  cluster = await Cluster.start(['A', 'B', 'witness']);
  for (const node of cluster.nodes.slice(0, 2)) proxies.push(await Proxy.start(node.url));
});
after(() => {
  closePhones();
  for (const proxy of proxies) proxy.close();
  for (const program of Program.all) program.kill();
});

function randomOf(seed) {
  let last = seed * 7919;
  return () => (last = (last * 48271) % 2147483647) / 2147483647;
}

/** Kills the node behind one proxy after the other, half of them without another one for a while, until told to stop. */
async function kill(random, calm) {
  while (!calm.aborted) {
    await delay(700 + random() * 1500);
    const at = Math.floor(random() * 2);
    cluster.nodes[at].program.kill();
    killed += 1;
    const another = cluster.another(`K${killed}`);
    if (random() < 0.5) await delay(random() * 3000);
    cluster.nodes[at] = await another;
    proxies[at].target = cluster.nodes[at].url;
  }
}

/** One call, and three words about it at random moments. */
async function play(seed) {
  const random = randomOf(seed);
  const [ana, bo] = proxies.map(({ url }) => phoneAt(url));
  ana.connect();
  bo.connect();
  await delay(random() * 800);
  const call = ana.call(bo.userId, 'VIDEO', { callId: `CALL_${process.pid}8${seed}` });
  for (let n = 0; n < 3; n += 1) {
    await delay(random() * 2500);
    const there = bo.calls.find(({ id }) => id === call.id);
    const word = Math.floor(random() * 5);
    if (word === 0) call.cancel();
    if (word === 1) there?.decline();
    if (word === 2 || word === 3) there?.answer();
    if (word === 4 && n === 2) call.hangUp();
  }
  return { seed, ana, bo, call };
}

async function agrees({ bo, call }) {
  const { status, body } = await cluster.nodes[2].get(`/api/calls/${call.id}`);
  const state = status === 404 ? 'ended' : body.state;
  const here = call.state.phase;
  const there = bo.calls.find(({ id }) => id === call.id)?.state.phase ?? 'ended';
  if (state === 'active' || state === 'ended') return here === state && there === state;
  return here === 'ringing' && (there === 'ringing' || there === 'ended');
}

test(`${SEEDS} schedules while nodes are killed`, async () => {
  const took = [];
  const contradicted = [];
  for (let first = 1; first <= SEEDS; first += AT_ONCE) {
    const seeds = Array.from({ length: Math.min(AT_ONCE, SEEDS - first + 1) }, (_, at) => first + at);
    const calm = new AbortController();
    const killing = kill(randomOf(first + 100_003), calm.signal);
    const played = await Promise.all(seeds.map(play));
    calm.abort();
    await killing;
    const since = performance.now();
    await Promise.all(played.map(async (one) => {
      while (!(await agrees(one))) {
        if (performance.now() - since > PATIENCE_MS) {
          contradicted.push(`seed ${one.seed}: the caller has ${JSON.stringify(one.call.state)}${logOf(one.ana)}\nthe callee: ${logOf(one.bo)}`);
          return;
        }
        await delay(50);
      }
      took.push(performance.now() - since);
    }));
    for (const { ana, bo } of played) for (const phone of [ana, bo]) phone.close();
  }
  took.sort((x, y) => x - y);
  const at = (share) => `${(took[Math.min(took.length - 1, Math.floor(share * took.length))] / 1000).toFixed(1)} s`;
  console.log(`${SEEDS} schedules, ${killed} nodes killed: they agree after ${at(0.5)} (median), ${at(1)} at most; ${took.filter((ms) => ms > PROMISED_MS).length} after more than ${PROMISED_MS / 1000} s`);
  assert.deepEqual(contradicted, []);
});
