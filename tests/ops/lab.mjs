// Which alert wakes somebody, when, and how often: real causes, real nodes, the shipped rules and inhibitions at their own
// pace. Takes twenty minutes, wants a release build for its fifty nodes, and is no part of `make ops`:
// SIGNALING_BIN=target/release/onlycare-signaling node tests/ops/lab.mjs [minutes [cause ...]]
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Program, folder, freePort } from '../node/cluster.mjs';
import { call, open } from './phones.mjs';
import { root, tool } from './tools.mjs';

const [minutes = '20', ...chosen] = process.argv.slice(2);
const MINUTES = Number(minutes);
const FAULT_MS = 120_000;
const PHONES = 40;
/** Fewer that vanish are no storm. */
const MANY_PHONES = 150;
const clusters = {};
const started = Date.now();
const seconds = () => Math.round((Date.now() - started - FAULT_MS) / 1000);
const say = (text) => console.log(`${String(seconds()).padStart(5)} s  ${text}`);

async function standStill({ child }, ms) {
  child.kill('SIGSTOP');
  await delay(ms);
  child.kill('SIGCONT');
}

/** What is done to a cluster two minutes after the start. */
const CAUSES = {
  async nothing() {},
  async 'redis-45s'({ redis }) {
    await standStill(redis, 45_000);
    say('Redis goes on');
  },
  async 'node-killed'({ nodes }) {
    nodes[2].program.child.kill('SIGKILL');
    nodes.splice(2, 1);
  },
  async 'two-killed'({ nodes }) {
    for (const node of nodes.splice(1, 2)) node.program.child.kill('SIGKILL');
  },
  // They stay in the list: that of the targets, and that of the phones.
  async 'all-killed'({ nodes }) {
    for (const { program } of nodes) program.child.kill('SIGKILL');
  },
  async 'node-drained-for-good'({ nodes }) {
    nodes.pop().program.child.kill('SIGTERM');
  },
  async 'rolling-restart'({ nodes, another }) {
    for (const place of nodes.keys()) {
      const { name, program, admin } = nodes[place];
      program.child.kill('SIGTERM');
      await new Promise((done) => program.child.once('exit', done));
      nodes[place] = await another(name, { ADMIN_PORT: new URL(admin).port });
    }
    say('all are restarted');
  },
  async 'wrong-secret'({ nodes }) {
    for (let request = 0; request < 4; request += 1) {
      await nodes[0].post('/api/emit/call-ended', { callId: 'CALL_none' }, { secret: 'of-yesterday' });
      await delay(30_000);
    }
  },
  async 'redis-lost'(cluster) {
    cluster.redis.child.kill('SIGKILL');
    await delay(3000);
    await cluster.startRedis();
    say('Redis is back, empty');
  },
  async 'redis-away'({ redis }) {
    await standStill(redis, 5 * 60_000);
    say('Redis goes on after five minutes');
  },
  // It works a quarter of the time, as on a machine that others use up.
  async 'node-slow'({ nodes }) {
    for (const until = Date.now() + 12 * 60_000; Date.now() < until; ) {
      await standStill(nodes[2].program, 1500);
      await delay(500);
    }
    say('the slow node is quick');
  },
  // Whoever starts it again waits longer and longer.
  async 'crash-loop'({ nodes, another }) {
    for (const pause of [1, 10, 20, 40, 80, 160, 300, 300]) {
      const { name, program, admin } = nodes[2];
      program.child.kill('SIGKILL');
      await delay(1000 * pause);
      nodes[2] = await another(name, { ADMIN_PORT: new URL(admin).port });
      await delay(20_000);
    }
    say('the crash loop is over');
  },
  async 'phones-away'(cluster) {
    cluster.away = true;
    for (const socket of cluster.sockets) socket.disconnect();
  },
  async 'handshakes-refused'({ nodes }) {
    for (let attempt = 0; ; attempt += 1) {
      open(nodes[attempt % 3].url, 'websocket', `USR_new_${attempt % 50}`).then((socket) => socket.disconnect(), () => {});
      await delay(50);
    }
  },
  async 'laravel-away'({ laravel }) {
    laravel.answers = false;
    await delay(5 * 60_000);
    laravel.answers = true;
    say('Laravel answers again');
  },
  async 'webhooks-off'({ laravel }) {
    laravel.hooks = 410;
  },
  // These are there from the start.
  async 'redis-prefixes'() {},
  async 'no-redis'() {},
};

/** Verifies every token and takes every webhook, as long as it is told to. */
async function laravel() {
  const stand = { answers: true, hooks: 204 };
  const server = createServer((request, response) => {
    request.resume();
    if (!stand.answers) return request.socket.destroy();
    if (request.method === 'POST') return response.writeHead(stand.hooks).end();
    const id = /token-of-(\w+)/.exec(request.headers.authorization ?? '')?.[1];
    const body = id ? { success: true, data: { id, name: id } } : { success: false, error: { code: 'UNAUTHENTICATED' } };
    response.writeHead(id ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return Object.assign(stand, { url: `http://127.0.0.1:${server.address().port}` });
}

const WITH_LARAVEL = {
  'laravel-away': (url) => ({ AUTH: 'laravel', LARAVEL_API_URL: url }),
  'webhooks-off': (url) => ({ WEBHOOK_URL: `${url}/hooks`, WEBHOOK_SECRET: `whsec_${Buffer.alloc(24, 7).toString('base64')}`, WEBHOOK_ALLOW_PRIVATE: 'true' }),
};
/** What each of its nodes has of its own. */
const APART = {
  'handshakes-refused': ['2', '2', '2'].map((limit) => ({ HANDSHAKES_PER_SECOND: limit })),
  'rolling-restart': Array(12).fill({}),
  'redis-prefixes': ['a', 'b', 'c'].map((prefix) => ({ REDIS_PREFIX: prefix })),
  'no-redis': ['', '', ''].map((none) => ({ REDIS_URL: none })),
};

const unknown = chosen.filter((name) => !CAUSES[name]);
if (unknown.length || !(MINUTES > 2)) {
  console.error(`lab: minutes, more than 2, and causes of: ${Object.keys(CAUSES).join(', ')}`);
  process.exit(2);
}
for (const name of chosen.length ? chosen : Object.keys(CAUSES)) {
  const apart = APART[name] ?? [{}, {}, {}];
  const stand = WITH_LARAVEL[name] && (await laravel());
  const cluster = await Cluster.start([], { DRAIN_DELAY_SECS: '2', DRAIN_SECS: '5', ...WITH_LARAVEL[name]?.(stand.url) });
  cluster.nodes = await Promise.all(apart.map((more, index) => cluster.another(`${name}-${index}`, more)));
  clusters[name] = Object.assign(cluster, { laravel: stand, sockets: new Set(), away: false });
}

const pages = [];
const pager = createServer((request, response) => {
  let body = '';
  request.on('data', (data) => (body += data)).on('end', () => {
    response.end();
    const { alerts } = JSON.parse(body);
    const firing = [...new Set(alerts.filter(({ status }) => status === 'firing').map(({ labels }) => labels.alertname))];
    const release = alerts[0].labels.release ?? '(none)';
    if (request.url === '/pager' && firing.length) pages.push({ release, at: seconds(), firing });
    if (request.url !== '/watchdog') say(`${request.url} ${release}: ${firing.length ? firing : 'resolved'}`);
  });
});
await new Promise((done) => pager.listen(0, '127.0.0.1', done));
const [receiver, alertmanager, prometheus] = [`http://127.0.0.1:${pager.address().port}`, await freePort(), await freePort()];
const shipped = (path) => readFileSync(join(root, 'deploy', path), 'utf8');
const work = join(folder, 'lab');
mkdirSync(join(work, 'rules'), { recursive: true });
mkdirSync(join(work, 'targets'));
writeFileSync(join(work, 'alertmanager.yml'), shipped('alertmanager/alertmanager.yml').replace(/https:\/\/(\w+)\.example\.com\/signaling/g, `${receiver}/$1`));
writeFileSync(join(work, 'rules/signaling.yml'), shipped('prometheus/rules/signaling.yml'));
writeFileSync(join(work, 'prometheus.yml'), shipped('prometheus/prometheus.yml').replace('targets: []', `targets: ["127.0.0.1:${alertmanager}"]`));
writeFileSync(join(work, 'targets/signaling.yml'), JSON.stringify(Object.entries(clusters).map(([release, { nodes }]) => ({ targets: nodes.map(({ admin }) => new URL(admin).host), labels: { release } }))));
new Program('alertmanager', tool('prometheus-alertmanager'), [`--config.file=${work}/alertmanager.yml`, `--storage.path=${work}/am`, `--web.listen-address=127.0.0.1:${alertmanager}`, '--cluster.listen-address=', '--log.level=error']);
const server = new Program('prometheus', tool('prometheus'), [`--config.file=${work}/prometheus.yml`, `--storage.tsdb.path=${work}/data`, `--web.listen-address=127.0.0.1:${prometheus}`, '--log.level=error']);
await server.until(async () => (await fetch(`http://127.0.0.1:${prometheus}/-/ready`)).ok, 'be ready');

for (const [name, cluster] of Object.entries(clusters)) {
  const any = () => cluster.nodes[Math.floor(Math.random() * cluster.nodes.length)].url;
  for (let phone = 0; phone < (name === 'phones-away' ? MANY_PHONES : PHONES); phone += 1) {
    void (async () => {
      while (!cluster.away) {
        const socket = await open(any(), 'websocket', `USR_${phone}`).catch(() => null);
        if (socket) {
          cluster.sockets.add(socket);
          await new Promise((done) => socket.once('disconnect', done));
          cluster.sockets.delete(socket);
          socket.disconnect();
        }
        await delay(1000);
      }
    })();
  }
  void (async () => {
    while (!cluster.away) {
      await call(any(), any(), 'websocket').catch(() => {});
      await delay(1000);
    }
  })();
}

const wait = FAULT_MS - (Date.now() - started);
await delay(Math.max(0, wait));
say('the causes');
for (const [name, cluster] of Object.entries(clusters)) CAUSES[name](cluster).catch((error) => say(`${name}: ${error.stack}`));
await delay(MINUTES * 60_000 - FAULT_MS);
console.log('| cause | first page after | pages | alerts in them |\n| --- | --- | --- | --- |');
for (const name of Object.keys(clusters)) {
  const own = pages.filter(({ release }) => release === name);
  console.log(`| ${name} | ${own.length ? `${own[0].at} s` : '–'} | ${own.length} | ${[...new Set(own.flatMap(({ firing }) => firing))].join(', ') || '–'} |`);
}
const lost = pages.filter(({ release }) => !clusters[release]);
if (lost.length) console.log(JSON.stringify(lost));
process.exit(0);
