// Faults at random on a cluster of two nodes, as clients/kotlin's SchedulesTest: 15 s after the last fault no phone contradicts
// what the server has written of its call. Later every phone is connected and every word of its user has an answer.
//   SEEDS=200 node --test test/schedules.test.mjs       as many schedules; FIRST_SEED says where they begin
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Program, Proxy, closePhones, logOf, phoneAt, restartRedis } from './stage.mjs';

const SEEDS = Number(process.env.SEEDS ?? 20);
const FIRST = Number(process.env.FIRST_SEED ?? 1);
/** Schedules that share the faults of the nodes; those of its connections each has for itself. */
const AT_ONCE = 20;
const PROMISED_MS = 15_000;
/** Pauses of those who were refused many times have grown until then. */
const IDLE_MS = 45_000;
/** What is on its way at that moment, because a deadline of the server passed, is waited for. */
const UNDER_WAY_MS = 1000;

let cluster;
let sides = [[], []];
const faults = {};
before(async () => {
  cluster = await Cluster.start(['A', 'B'], { DRAIN_DELAY_SECS: '1', DRAIN_SECS: '2' });
});
after(() => {
  closePhones();
  for (const proxy of sides.flat()) proxy.close();
  for (const program of Program.all) program.kill();
});

function randomOf(seed) {
  let last = seed * 7919;
  return () => (last = (last * 48271) % 2147483647) / 2147483647;
}

const happens = (fault) => { faults[fault] = (faults[fault] ?? 0) + 1; };

/** Faults of nodes and of Redis until told to stop; then the cluster is whole. */
async function breakNodes(random, calm) {
  while (!calm.aborted) {
    await delay(200 + random() * 800);
    if (random() < 0.2) {
      happens('Redis restarts empty');
      await restartRedis(random() * 1500);
      continue;
    }
    const at = Math.floor(random() * 2);
    const { program } = cluster.nodes[at];
    const drains = random() < 0.4;
    happens(drains ? 'a node is drained' : 'a node is killed');
    program.child.kill(drains ? 'SIGTERM' : 'SIGKILL');
    const another = cluster.another(`${program.name}'`);
    if (!drains && random() < 0.5) await delay(random() * 3000);
    cluster.nodes[at] = await another;
    for (const proxy of sides[at]) proxy.target = cluster.nodes[at].url;
    while (!program.exit) await delay(20);
  }
}

/** Faults of the two connections of one schedule until told to stop; then they are whole. */
async function breakLinks(random, ends, calm) {
  while (!calm.aborted) {
    await delay(200 + random() * 1500);
    const { phone, proxy } = ends[Math.floor(random() * 2)];
    const kind = Math.floor(random() * 4);
    if (kind === 0) {
      happens('a connection is cut');
      proxy.cut();
    } else if (kind === 1) {
      happens('there is no way to the server for a while');
      proxy.open = false;
      proxy.cut();
      await delay(random() * 2000);
      proxy.open = true;
    } else if (kind === 2) {
      happens('nothing passes for a while');
      const flow = proxy.hold();
      await delay(random() * 2000);
      flow();
    } else {
      // As with another network: what there was is dead without a word, and the app says so.
      happens('the network changes');
      proxy.hold();
      phone.resume();
    }
  }
}

/** One call, and what its users say of it at random moments among the faults. */
async function play(seed) {
  const random = randomOf(seed);
  const ends = await Promise.all(cluster.nodes.map(async ({ url }, at) => {
    const proxy = await Proxy.start(url);
    sides[at].push(proxy);
    return { proxy, phone: phoneAt(proxy.url) };
  }));
  const [ana, bo] = ends.map(({ phone }) => phone);
  const calm = new AbortController();
  const breaking = breakLinks(randomOf(seed + 200_003), ends, calm.signal);
  ana.connect();
  bo.connect();
  await delay(random() * 800);
  const call = ana.call(bo.userId, 'VIDEO', { callId: `CALL_${process.pid}8${seed}` });
  const words = [call.dialled];
  for (let n = 0; n < 3; n += 1) {
    await delay(random() * 2500);
    const there = bo.calls.find(({ id }) => id === call.id);
    const word = Math.floor(random() * 5);
    if (word === 0) words.push(call.cancel());
    if (word === 1 && there) words.push(there.decline());
    if ((word === 2 || word === 3) && there) words.push(there.answer());
    if (word === 4 && n === 2) words.push(call.hangUp());
  }
  calm.abort();
  await breaking;
  const one = { seed, ana, bo, call, open: words.length };
  for (const word of words) word.then(() => { one.open -= 1; });
  return one;
}

const here = ({ bo, call }) => ({
  caller: call.state.phase, callee: bo.rang.find(({ id }) => id === call.id)?.state.phase ?? 'never heard of it',
});

/** Whether a phone has still to come back or to say something. */
const busy = ({ ana, bo, open }) => ana.link.status !== 'ready' || bo.link.status !== 'ready' || open > 0;
const busyness = ({ seed, ana, bo, open }) => `seed ${seed}: the caller is ${ana.link.status}, the callee ${bo.link.status}, ${open} words are open`;

/** What contradicts what, or nothing. What the phones say is asked before and after what the server says, and counts if it is the
 * same. */
async function contradiction(one) {
  const before = here(one);
  const { status, body } = await cluster.nodes[one.seed % 2].get(`/api/calls/${one.call.id}`);
  const { caller, callee } = here(one);
  const server = status === 404 ? 'ended' : (body.state ?? `not to be had, ${status}`);
  const rings = server === 'trying' || server === 'ringing';
  const agrees = rings ? caller === 'ringing' && callee === 'ringing'
    : caller === server && (callee === server || (server === 'ended' && callee === 'never heard of it'));
  const same = JSON.stringify(before) === JSON.stringify(here(one));
  return agrees && same ? undefined : `seed ${one.seed}: the server has ${server}, the caller ${caller}, the callee ${callee}`;
}

/** Waits until the phones and the server agree, for `ms` at most; then says what contradicts. */
async function settled(one, ms) {
  const since = performance.now();
  for (;;) {
    const found = await contradiction(one).catch((error) => `seed ${one.seed}: ${error.message}`);
    if (!found || performance.now() - since > ms) return found;
    await delay(100);
  }
}

test(`${SEEDS} schedules of faults`, async () => {
  const took = [];
  const contradictions = [];
  const idle = [];
  const stillBusy = [];
  for (let first = FIRST; first < FIRST + SEEDS; first += AT_ONCE) {
    const seeds = Array.from({ length: Math.min(AT_ONCE, FIRST + SEEDS - first) }, (_, at) => first + at);
    const calm = new AbortController();
    const breaking = breakNodes(randomOf(first + 100_003), calm.signal);
    const played = await Promise.all(seeds.map(play));
    calm.abort();
    await breaking;
    const last = performance.now();
    await Promise.all(played.map(async (one) => {
      if (!(await settled(one, PROMISED_MS))) took.push(performance.now() - last);
    }));
    await delay(Math.max(0, PROMISED_MS - (performance.now() - last)));
    await Promise.all(played.map(async (one) => {
      const found = await settled(one, UNDER_WAY_MS);
      if (found) contradictions.push(`${found}\nthe caller: ${logOf(one.ana)}\nthe callee: ${logOf(one.bo)}`);
    }));
    assert.deepEqual(cluster.nodes.flatMap(({ name, program }) => (program.exit ? [`${name} ended by itself: ${program.exit}`, ...program.lines.slice(-5)] : [])), []);
    await Promise.all(played.filter(busy).map(async (one) => {
      while (busy(one) && performance.now() - last < IDLE_MS) await delay(50);
      idle.push(performance.now() - last);
      if (busy(one)) stillBusy.push(`${busyness(one)}\nthe caller: ${logOf(one.ana)}\nthe callee: ${logOf(one.bo)}`);
    }));
    for (const { ana, bo } of played) for (const phone of [ana, bo]) phone.close();
    for (const proxy of sides.flat()) proxy.close();
    sides = [[], []];
  }
  const of = (times, share) => `${((times.sort((x, y) => x - y)[Math.ceil(share * times.length) - 1] ?? NaN) / 1000).toFixed(1)} s`;
  const all = Object.values(faults).reduce((sum, count) => sum + count, 0);
  console.log(`schedules: ${SEEDS} seeds from ${FIRST} on, ${all} faults, ${contradictions.length} contradictions ${PROMISED_MS / 1000} s after the last fault; they agree after ${of(took, 0.5)} (median), ${of(took, 1)} at most`);
  console.log(`schedules: ${Object.entries(faults).map(([fault, count]) => `${count}: ${fault}`).sort().join('; ')}`);
  console.log(`schedules: ${idle.length} of them needed longer to be connected or to have every answer${idle.length ? `, ${of(idle, 1)} at most` : ''}`);
  assert.deepEqual(contradictions, []);
  assert.deepEqual(stillBusy, []);
});
