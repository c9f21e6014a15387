// docs/troubleshooting.md against real nodes: each symptom is brought about, and what the page says to look at tells it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { BINARY, Cluster, Program, freePort } from '../cluster.mjs';
import { Phone } from '../phone.mjs';
import { read } from './blocks.mjs';

const page = read('docs/troubleshooting.md');
const section = (title) => page.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? assert.fail(`no section ${title}`);
const phones = [];
let cluster;
let a;
let b;
let users = 0;

before(async () => {
  cluster = await Cluster.start(['A', 'B'], {
    CALL_GRACE_SECS: '1', CALLER_GRACE_SECS: '1', MAX_SESSIONS_PER_DEVICE: '1', ENDED_TTL_SECS: '600', RINGS_PER_CALLEE_PER_MINUTE: '6',
    PING_INTERVAL_MS: '2000', PING_TIMEOUT_MS: '1000', INSPECTOR: 'on',
    // Nobody is there: a push is asked for all the same.
    WEBHOOK_URL: `http://127.0.0.1:${await freePort()}/`, WEBHOOK_ALLOW_PRIVATE: 'true',
    WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
  });
  [a, b] = cluster.nodes;
});
after(() => {
  for (const phone of phones) phone.close();
  for (const program of Program.all) program.kill();
});

function phone(node, options = {}) {
  const made = new Phone({ name: 'phone', user: `USR_${process.pid}${++users}`, node, mode: 'websocket', deviceId: 'handset', acks: true, ...options });
  phones.push(made);
  return made;
}
const pair = (options) => Promise.all([phone(a).connect(), phone(b, options).connect()]);
const call = async ({ id }, node = a) => (await node.get(`/api/calls/${id}`)).body;
const has = async (ring, ...whats) => {
  let seen;
  await until(async () => {
    seen = (await call(ring)).timeline.map(({ what }) => what);
    return whats.every((what) => seen.includes(what));
  }, () => `the timeline has ${whats}: ${seen}`);
  return (await call(ring)).timeline;
};
/** The inspector of any node says this of the call, and the page has a row for it. */
async function isBecause(ring, cause) {
  assert.ok(page.split('\n').some((row) => row.startsWith('| `') && row.split(' | ')[0].includes(`\`${cause}\``)), `${cause} has a row`);
  let seen;
  await until(async () => {
    seen = (await (await fetch(`${b.admin}/inspector/calls/${ring.id}`)).json()).why;
    return seen.cause === cause;
  }, () => `it is ${cause}: ${JSON.stringify(seen)}`);
}
/** The sum over both nodes of a metric, as the page writes it. */
async function metric(written) {
  const [, name, label] = /^(\w+)(?:\{(.*)\})?$/.exec(written);
  const lines = (await Promise.all([a, b].map(async ({ admin }) => (await fetch(`${admin}/metrics`)).text()))).join('\n').split('\n');
  const fitting = lines.filter((line) => new RegExp(`^${name}[{ ]`).test(line) && (!label || line.includes(label)));
  assert.ok(fitting.length, `no node knows ${written}`);
  return fitting.reduce((sum, line) => sum + Number(line.split(' ').pop()), 0);
}
async function until(condition, what, within = 15_000) {
  const deadline = performance.now() + within;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited until ${typeof what === 'function' ? what() : what}`);
    await delay(20);
  }
}
/** Runs what makes the metric grow. */
async function grows(title, written, what) {
  assert.ok(section(title).includes(written.split('{')[0]) && section(title).includes(written.split('{')[1]?.slice(0, -1) ?? ''), `${title} names ${written}`);
  const was = await metric(written);
  await what();
  await until(async () => (await metric(written)) > was, `${written} grows`);
}

const symptoms = {
  async 'It rings and nobody answers'() {
    const [ana, bo] = await pair();
    const away = await ana.dial({ user: 'USR_away' });
    await has(away, 'no_session', 'push_required');
    await isBecause(away, 'push_unanswered');
    await ana.does('call:cancel', away, 'ended');
    const ring = await ana.dial(bo);
    await has(ring, 'delivered', 'ringing');
    await isBecause(ring, 'rings');
    await ana.does('call:cancel', ring, 'ended');
    // One that promised to confirm and does not: its connection is dead, or as good as dead.
    const mute = io(b.url, { auth: { token: 'token-of-USR_mute', userId: 'USR_mute', deviceId: 'mute', acks: true }, forceNew: true, transports: ['websocket'] });
    await new Promise((done) => mute.on('session:ready', done));
    const unheard = await ana.dial({ user: 'USR_mute' });
    const timeline = await has(unheard, 'delivered', 'push_required');
    assert.ok(!timeline.some(({ what }) => what === 'ringing'));
    await isBecause(unheard, 'unconfirmed');
    // As the page shows it.
    const shown = execFileSync(BINARY, ['call', unheard.id, a.admin], { encoding: 'utf8' });
    for (const text of [shown, /```text\n(.*?)```/s.exec(page)[1]]) {
      const [head, gap, ...rest] = text.trim().split('\n');
      assert.match(head, /^CALL_\w+: USR_\w+ calls USR_\w+, VIDEO; [a-z_, ]+; created [\d-]+T[\d:.]+Z$/);
      assert.equal(gap, '');
      const [sentence, , ...steps] = rest.reverse();
      assert.ok(steps.length >= 3, text);
      for (const step of steps) assert.match(step, /^ *[\d.]+ m?s  .* (?:-->|<--|   )  \S+ +[a-z_, ]+$/);
      assert.match(sentence, /^It did not ring: device \S+ of USR_\w+ at node \S+ was told, and none confirmed, so the connection was dead or the app asleep; a push was asked for after [\d.]+ m?s\.$/);
    }
    mute.disconnect();
    await ana.does('call:cancel', unheard, 'ended');
  },
  async 'The caller never hears that it rings'() {
    const [ana, bo] = await pair({ acks: undefined });
    let ring;
    await grows('The caller never hears that it rings', 'signaling_incoming_total{acks="none"}', async () => (ring = await ana.dial(bo)));
    const timeline = await has(ring, 'delivered');
    assert.ok(!timeline.some(({ what }) => what === 'ringing'));
    await ana.does('call:cancel', ring, 'ended');
  },
  async 'Busy for no reason'() {
    const [ana, bo] = await pair();
    const glare = await ana.rings(bo);
    const refused = await bo.dial(ana);
    assert.equal(refused.ack.ringingCallId, glare.id);
    await bo.does('call:accept', glare, 'active');
    const eve = await phone(a).connect();
    const busy = await eve.dial(bo);
    assert.equal(busy.ack.busy, true);
    const { state, reason } = await call(busy);
    assert.deepEqual([state, reason], ['ended', 'busy']);
    const other = await phone(b, { user: bo.user, deviceId: 'another' }).connect();
    assert.equal(other.ready.call.callId, glare.id);
    await b.post('/api/emit/call-ended', { callId: glare.id });
    assert.equal((await call(glare)).state, 'ended');
    await metric('signaling_lines_freed_total{cause="gone"}');
  },
  async 'Connected but offline'() {
    const ana = await phone(a, { user: 'USR_Anna' }).connect();
    assert.equal((await b.get('/api/users/USR_Anna/online')).body.isOnline, true);
    assert.equal((await b.get('/api/users/usr_anna/online')).body.isOnline, false);
    await until(async () => (await metric('signaling_cluster_nodes')) === 4, 'two nodes see two each');
    assert.ok((await b.get('/health')).body.connectedUsers >= 1);
    ana.close();
    await grows('Connected but offline', 'signaling_disconnects_total{cause="silent"}', () => halfOpen(a, 'USR_half'));
    await until(async () => (await a.get('/api/users/USR_half/online')).body.isOnline === false, 'he is offline');
  },
  async 'Connects, and is out again'() {
    const ana = await phone(a).connect();
    await grows('Connects, and is out again', 'signaling_disconnects_total{cause="evicted"}', () => phone(b, { user: ana.user }).connect());
    await grows('Connects, and is out again', 'signaling_disconnects_total{cause="sent_away"}', () => a.post(`/api/users/${ana.user}/disconnect`, {}));
  },
  async 'Does not connect'() {
    const refusal = (auth) => new Promise((done) => {
      const socket = io(a.url, { auth, forceNew: true, reconnection: false, transports: ['websocket'] });
      socket.on('connect_error', (error) => done(error.message));
    });
    assert.equal(await refusal({ userId: 'USR_1' }), 'Authentication required');
    const old = await fetch(`${a.url}/socket.io/?EIO=3&transport=polling`);
    assert.equal(old.status, 400);
    assert.equal((await old.json()).code, '5');
    for (const outcome of ['invalid', 'unavailable']) await metric(`signaling_token_checks_total{outcome="${outcome}"}`);
    const narrow = await cluster.another('N', { HANDSHAKES_PER_SECOND: '1' });
    const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await fetch(`${narrow.url}/socket.io/?EIO=4&transport=polling`)).status));
    assert.ok(statuses.includes(503), `${statuses}`);
    const text = await (await fetch(`${narrow.admin}/metrics`)).text();
    assert.match(text, /signaling_limited_total\{limit="handshakes"\} [1-9]/);
    narrow.program.kill();
  },
  async 'The call ended by itself'() {
    const [ana, bo] = await pair();
    const lost = await ana.rings(bo);
    await bo.does('call:accept', lost, 'active');
    bo.close();
    await until(async () => (await call(lost)).state === 'ended', 'it is lost');
    const record = await call(lost);
    assert.equal(record.reason, 'lost');
    assert.ok(record.absentSince);
    assert.ok(record.timeline.some(({ what, userId }) => what === 'absent' && userId === bo.user));
    const cy = await phone(b).connect();
    const first = await ana.dial(cy);
    await ana.dial(await phone(b).connect());
    await until(async () => (await call(first)).reason === 'superseded', 'superseded');
    const gone = await phone(a).connect();
    const ring = await gone.dial(await phone(b).connect());
    gone.close();
    await until(async () => (await call(ring)).reason === 'caller_gone', 'the caller is gone');
  },
  async 'Answered elsewhere, on the only phone'() {
    const [ana, bo] = await pair();
    const ring = await ana.rings(bo);
    await bo.does('call:accept', ring, 'active');
    const restarted = await phone(b, { user: bo.user, deviceId: 'made-at-this-start' }).connect();
    await restarted.fails('call:accept', ring, 'invalid_state');
    const timeline = await has(ring, 'accepted', 'accept_refused');
    assert.notEqual(timeline.find(({ what }) => what === 'accepted').device, timeline.find(({ what }) => what === 'accept_refused').device);
  },
  async 'Rings twice, rings after the end'() {
    assert.equal(await metric('signaling_ghost_rings_total'), 0);
  },
  async 'An accept is refused'() {
    const [ana, bo] = await pair();
    const ring = await ana.rings(bo);
    await ana.does('call:cancel', ring, 'ended');
    await bo.expect('call:cancelled', { callId: ring.id });
    const late = await bo.fails('call:accept', ring, 'invalid_state');
    assert.deepEqual([late.state, late.reason], ['ended', 'cancelled']);
    await bo.expect('call:ended', { callId: ring.id, reason: 'Call ended' });
    await bo.fails('call:accept', { id: 'CALL_early' }, 'call_not_found');
    const next = await ana.rings(bo);
    await (await phone(a).connect()).fails('call:accept', next, 'not_a_participant');
  },
  async rate_limited() {
    const [ana, bo] = await pair();
    const acks = [];
    await grows('rate_limited', 'signaling_limited_total', async () => {
      for (let n = 0; n < 7; n += 1) {
        const ring = await ana.dial(bo);
        acks.push(ring.ack);
        if (ring.ack.success) await ana.does('call:cancel', ring, 'ended');
      }
    });
    assert.equal(acks.at(-1).code, 'rate_limited');
    assert.ok(acks.at(-1).retryAfterMs > 0);
    assert.ok(await metric('signaling_limited_total{limit="rings"}') > 0);
  },
  async "Laravel's word does nothing"() {
    await grows("Laravel's word does nothing", 'signaling_secrets_refused_total', async () => {
      assert.equal((await a.post('/api/emit/call-ended', {}, { secret: 'another' })).status, 401);
    });
    const [ana, bo] = await pair();
    const ring = await ana.rings(bo);
    await ana.does('call:cancel', ring, 'ended');
    const late = await a.post('/api/emit/call-accepted', { callerId: ana.user, receiverId: bo.user, callId: ring.id });
    assert.deepEqual(late.body, { success: true, emitted: false, reason: 'Call ended', state: 'ended' });
    const absent = await a.post('/api/emit/call-accepted', { callerId: 'USR_x', receiverId: 'USR_y', callId: 'CALL_unheard' });
    assert.equal(absent.body.reason, 'Caller not connected');
    const unknown = await a.post('/api/emit/call-ended', { callId: 'CALL_never' });
    assert.equal(unknown.body.reason, 'Call not found');
  },
  async 'The call is not found'() {
    const answer = await a.get('/api/calls/CALL_nobody_knows');
    assert.deepEqual([answer.status, answer.body.code], [404, 'call_not_found']);
  },
  // The last: Redis does not come back.
  async unavailable() {
    const [ana, bo] = await pair();
    Program.all.find(({ name }) => name === 'redis').kill();
    const { ack } = await ana.dial(bo);
    assert.equal(ack.code, 'unavailable');
    await until(async () => (await metric('signaling_store_healthy')) === 0, 'both nodes say that the store is away');
  },
};

/** A websocket of which nothing more is read: what a network that died looks like from the server. */
function halfOpen(node, user) {
  const { hostname, port } = new URL(node.url);
  return new Promise((done) => {
    const socket = connect(Number(port), hostname);
    socket.write(`GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n\r\n`);
    const text = Buffer.from(`40${JSON.stringify({ token: `token-of-${user}`, userId: user })}`);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      if (data.includes('101')) socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text]));
      if (data.includes('session:ready')) done();
    });
  });
}

for (const [title, play] of Object.entries(symptoms)) test(title, play);

test('every symptom of the page is among these', () => {
  const titles = [...page.matchAll(/^## (.*)$/gm)].map(([, title]) => title);
  assert.deepEqual(titles.sort(), Object.keys(symptoms).sort());
});

test('metrics, labels and timeline entries that the page names exist', () => {
  const rows = Object.fromEntries([...read('docs/metrics.md').matchAll(/^\| `(\w+)` \| \w+ \| (.*?) \|/gm)].map(([, name, labels]) => [name, labels]));
  let last;
  for (const [, name, label, value, alone] of page.matchAll(/`(signaling_\w+)(?:\{(\w+)(?:="(\w+)")?\})?`|`(?:limit=|cause=)?"(\w+)"`/g)) {
    last = name ?? last;
    assert.ok(rows[last], `${last} is a metric`);
    for (const word of [label, value, alone].filter(Boolean)) assert.ok(rows[last].includes(word), `${last} has ${word}: ${rows[last]}`);
  }
  const protocol = read('docs/protocol.md');
  for (const what of ['no_session', 'undelivered', 'deaf', 'delivered', 'ringing', 'push_required', 'absent', 'doubtful', 'accepted', 'accept_refused']) {
    assert.ok(page.includes(`\`${what}\``) && protocol.includes(`\`${what}\``), what);
  }
});
