// A rolling restart as Kubernetes would do it with the chart's own numbers: for each of three nodes a new one starts, is
// ready, the old one leaves the balancer, preStop sleeps, SIGTERM, the drain, and the kill that is never needed. All the
// time phones of the official client hold calls and make new ones: no accepted call may end, no outcome may be lost.
// `node rolling.mjs [divisor]`: the numbers are divided by it, 5 by default; 1 takes two minutes.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Program, folder, freePort } from '../node/cluster.mjs';
import { assert, check, finish, root, run, skip, tool, yaml } from './tools.mjs';

const { io } = createRequire(new URL('../node/package.json', import.meta.url))('socket.io-client');
const DIVISOR = Number(process.argv[2] ?? 5);
const HELD = 12;
const BUSY = 12;
/** As the deployed app: transports, and its pauses between tries. */
const APP = { transports: ['polling', 'websocket'], reconnectionDelay: 1000, reconnectionDelayMax: 5000, timeout: 10_000, forceNew: true };
const OUTCOME_MS = 15_000;

if (!tool('haproxy')) {
  skip('rolling restart', 'haproxy is not there');
  finish('rolling restart');
}
const numbers = fromChart();
const { preStop, drainDelay, drain, grace } = numbers;
console.log(`rolling restart: preStop ${preStop} s, DRAIN_DELAY_SECS ${drainDelay}, DRAIN_SECS ${drain}, grace ${grace} s`);

const cluster = await Cluster.start(['A', 'B', 'C'], {
  DRAIN_DELAY_SECS: String(drainDelay), DRAIN_SECS: String(drain), TRUSTED_PROXIES: '127.0.0.1/32',
});
const ports = await Promise.all(Array.from({ length: 6 }, freePort));
const balancer = await haproxy();

let count = 0;
const problems = [];
const absences = [];
const held = await Promise.all(Array.from({ length: HELD }, (_, i) => hold(i)));
const rollout = { over: false };
const counts = { calls: 0, accepted: 0 };
const load = Promise.all(Array.from({ length: BUSY }, () => keepCalling()));

for (let i = 0; i < 3; i += 1) await check(`node ${i + 1} of 3 is replaced`, () => replace(i));
rollout.over = true;
await load;

await check('accepted calls outlive the rollout', async () => {
  for (const pair of held) await pair.finish();
  assert(!problems.length, problems.slice(0, 10).join('\n'));
});
absences.sort((a, b) => a - b);
const at = (share) => ((absences[Math.floor(absences.length * share)] ?? 0) / 1000).toFixed(1);
console.log(`rolling restart: ${HELD} calls held, ${counts.calls} made meanwhile, ${problems.length} problems; ${absences.length} reconnections, away p50 ${at(0.5)} s, p95 ${at(0.95)} s, longest ${at(0.9999)} s`);
await check('no new node stumbled', () => {
  const panics = Program.all.flatMap(({ name, lines }) => lines.filter((line) => line.includes('panicked')).map((line) => `${name}: ${line}`));
  assert(!panics.length, panics.join('\n'));
});
finish('rolling restart');

async function replace(i) {
  const old = cluster.nodes[i];
  const fresh = await cluster.another(`${old.name}2`, { PORT: String(ports[i]), ADMIN_PORT: String(ports[3 + i]) });
  // Its endpoint appears; minReadySeconds would follow, and only make this longer.
  await balancer.command(`set server nodes/new${i} state ready`);
  await balancer.command(`set server nodes/new${i} health up`);
  const left = Date.now();
  // Deletion: the endpoint goes while preStop sleeps.
  await balancer.command(`set server nodes/old${i} state drain`);
  await delay(preStop * 1000);
  old.program.child.kill('SIGTERM');
  while (!old.program.exit && Date.now() - left < grace * 1000) await delay(50);
  const took = (Date.now() - left) / 1000;
  assert(old.program.exit, `${old.name} would have been killed after ${grace} s`);
  assert(old.program.exit === 'code 0', `${old.name} ended with ${old.program.exit}`);
  console.log(`rolling restart: ${old.name} took ${took.toFixed(1)} s of ${grace} s`);
  cluster.nodes[i] = fresh;
}

/** Two phones in an accepted call, every other pair without acks. */
async function hold(i) {
  const acks = i % 2 === 0;
  const [ana, bo] = await Promise.all([phone(`held_ana_${i}`, acks), phone(`held_bo_${i}`, acks)]);
  const callId = `CALL_held_${i}`;
  await say(ana, 'call:initiate', offer(bo, callId));
  await hears(bo, callId, ['call:incoming']);
  await say(bo, 'call:accept', { callId });
  await hears(ana, callId, ['call:accepted']);
  return {
    async finish() {
      for (const who of [ana, bo]) {
        const told = who.told(callId).filter((event) => ['call:ended', 'call:cancelled', 'call:rejected', 'call:timeout', 'call:busy'].includes(event));
        if (told.length) problems.push(`${who.user} was told ${told} of an accepted call`);
      }
      const ack = await say(bo, 'call:end', { callId });
      if (ack?.state !== 'ended') problems.push(`${bo.user} could not end: ${JSON.stringify(ack)}`);
      await hears(ana, callId, ['call:ended']).catch(({ message }) => problems.push(message));
      ana.close();
      bo.close();
    },
  };
}

async function keepCalling() {
  const name = (count += 1);
  const [ana, bo] = await Promise.all([phone(`busy_ana_${name}`, true), phone(`busy_bo_${name}`, true)]);
  for (let turn = 0; !rollout.over; turn += 1) {
    await one(ana, bo, `CALL_busy_${name}_${turn}`, ['accept', 'reject', 'cancel'][turn % 3]).catch(({ message }) => problems.push(message));
    counts.calls += 1;
    await delay(100 + 300 * Math.random());
  }
  ana.close();
  bo.close();
}

async function one(ana, bo, callId, ending) {
  const ack = await say(ana, 'call:initiate', offer(bo, callId));
  if (!ack.success && !ack.useFcmFallback) throw new Error(`${callId}: initiate ${JSON.stringify(ack)}`);
  await hears(bo, callId, ['call:incoming']);
  await delay(500 * Math.random());
  if (ending === 'reject') {
    await say(bo, 'call:reject', { callId });
    return hears(ana, callId, ['call:rejected', 'ended']);
  }
  if (ending === 'cancel') {
    await say(ana, 'call:cancel', { callId });
    return hears(bo, callId, ['call:cancelled', 'ended']);
  }
  await say(bo, 'call:accept', { callId });
  await hears(ana, callId, ['call:accepted']);
  counts.accepted += 1;
  await delay(500 * Math.random());
  await say(bo, 'call:end', { callId });
  return hears(ana, callId, ['call:ended', 'ended']);
}

function offer(callee, callId) {
  return { receiverId: callee.user, callId, callType: 'AUDIO', channelName: 'c', agoraToken: '' };
}

/** Sends until it is answered, as the app's REST twin would: repeats change nothing. */
async function say(who, event, payload) {
  for (let attempt = 0; attempt < 8; attempt += 1) {
    const ack = await who.socket.timeout(2500).emitWithAck(event, payload).catch(() => null);
    if (ack && ack.code !== 'unavailable') return ack;
    if (ack) await delay(300);
  }
  throw new Error(`${who.user} got no answer to ${event} ${payload.callId}`);
}

async function hears(who, callId, events) {
  const until = Date.now() + OUTCOME_MS;
  while (Date.now() < until) {
    if (who.told(callId).some((event) => events.includes(event))) return;
    await delay(20);
  }
  throw new Error(`${who.user} did not hear ${events[0]} of ${callId}, but ${who.told(callId).join(', ') || 'nothing'}`);
}

async function phone(name, acks) {
  const user = `USR_${name}`;
  const auth = { token: 't', userId: user, deviceId: name, ...(acks ? { acks: true } : {}) };
  const socket = io(balancer.url, { ...APP, auth });
  const heard = new Map();
  const note = (callId, event) => heard.set(callId, [...(heard.get(callId) ?? []), event]);
  let leftAt = null;
  socket.on('disconnect', (reason) => {
    leftAt = Date.now();
    // The client comes back by itself from a lost transport only.
    if (reason === 'io server disconnect') problems.push(`${user} was sent away for good`);
  });
  socket.on('connect_error', ({ message }) => socket.active || problems.push(`${user} was refused: ${message}`));
  socket.onAny((event, payload, confirm) => {
    if (event === 'session:ready') {
      if (leftAt) absences.push(Date.now() - leftAt);
      leftAt = null;
      for (const { callId } of payload.ended ?? []) note(callId, 'ended');
    } else if (payload?.callId) note(payload.callId, event);
    if (typeof confirm === 'function') confirm();
  });
  await new Promise((done) => socket.once('session:ready', done));
  return { user, socket, told: (callId) => heard.get(callId) ?? [], close: () => socket.disconnect() };
}

function fromChart() {
  const helm = tool('helm');
  const { drain } = helm
    ? { drain: rendered(helm) }
    : { drain: yaml(readFileSync(join(root, 'helm/values.yaml'), 'utf8'))[0].drain };
  const less = (seconds) => Math.max(1, Math.round(seconds / DIVISOR));
  const [preStop, drainDelay, drainSecs] = [less(drain.preStopSeconds), less(drain.delaySeconds), less(drain.seconds)];
  return { preStop, drainDelay, drain: drainSecs, grace: preStop + drainDelay + drainSecs + drain.marginSeconds };
}

/** What the pods would get, not what the values say. */
function rendered(helm) {
  const { stdout } = run(helm, ['template', 'r', join(root, 'helm'), '-f', join(root, 'helm/ci/default-values.yaml')]);
  const objects = yaml(stdout);
  const { spec } = objects.find(({ kind }) => kind === 'Deployment').spec.template;
  const { data } = objects.find(({ kind, data: map }) => kind === 'ConfigMap' && map.DRAIN_SECS);
  const preStopSeconds = spec.containers[0].lifecycle.preStop.sleep.seconds;
  const [delaySeconds, seconds] = [Number(data.DRAIN_DELAY_SECS), Number(data.DRAIN_SECS)];
  return { preStopSeconds, delaySeconds, seconds, marginSeconds: spec.terminationGracePeriodSeconds - preStopSeconds - delaySeconds - seconds };
}

/** Before three nodes and the three that will take their places. */
async function haproxy() {
  const [port, work] = [await freePort(), join(folder, 'rolling')];
  mkdirSync(work);
  const olds = cluster.nodes.map(({ url }, i) => `server old${i} ${new URL(url).host}`);
  const news = [0, 1, 2].map((i) => `server new${i} 127.0.0.1:${ports[i]} disabled`);
  writeFileSync(join(work, 'haproxy.cfg'), `
global
    maxconn 2000
    stats socket ${work}/admin.sock mode 600 level admin
defaults
    mode http
    timeout connect 1s
    timeout client 90s
    timeout server 90s
    timeout tunnel 90s
frontend phones
    bind 127.0.0.1:${port}
    option forwardfor
    default_backend nodes
backend nodes
    balance roundrobin
    ${[...olds, ...news].join('\n    ')}
`);
  const program = new Program('haproxy', tool('haproxy'), ['-db', '-f', join(work, 'haproxy.cfg')]);
  const url = `http://127.0.0.1:${port}`;
  await program.until(async () => (await fetch(`${url}/health`)).ok, 'serve');
  const command = (text) => new Promise((done, failed) => {
    const socket = connect(join(work, 'admin.sock'), () => socket.end(`${text}\n`));
    let answer = '';
    socket.on('data', (data) => (answer += data)).on('end', () => (answer.trim() ? failed(new Error(`${text}: ${answer}`)) : done())).on('error', failed);
  });
  return { url, command };
}
