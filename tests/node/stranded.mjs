// How many phones come back by themselves after a fault, and how soon: the libraries beside the deployed app's options.
//   node tests/node/stranded.mjs [phones of each kind, 300] [faults, 0,1,2,3]
// clients/js must be built, and clients/kotlin tested once (scripts/client-tests), else there is no Kotlin.
// Two nodes behind a balancer that deals connections out in turn and leaves out who does not take them. A phone that is
// not connected a minute after the fault has ended counts as stranded.
import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { Cluster, Program } from './cluster.mjs';
import { kotlinClasses } from './libraries/programs.mjs';

const { Phone } = await import('../../clients/js/dist/index.js');
const count = Number(process.argv[2] ?? 300);
const STRANDED_MS = 60_000;
const cluster = await Cluster.start(['A', 'B'], { DRAIN_DELAY_SECS: '2', DRAIN_SECS: '5' });
const balancer = await balance();
let epoch = 0;
let stranded = 0;

/** One user's phone: since when it is away, and how long it took to be back. */
class Watched {
  lostAt = null;
  back = null;
  is(connected) {
    if (!connected && this.connected) {
      this.lostAt ??= performance.now();
      this.back = null;
    }
    if (connected && !this.connected && this.lostAt) this.back = performance.now() - epoch;
    this.connected = connected;
  }
}

const KINDS = {
  deployed: each((userId, watched) => {
    const socket = io(balancer.url, {
      auth: { token: `token-of-${userId}`, userId }, transports: ['polling', 'websocket'], forceNew: true,
      reconnection: true, reconnectionAttempts: 5, reconnectionDelay: 1000, reconnectionDelayMax: 5000, timeout: 20_000,
    });
    socket.on('session:ready', () => watched.is(true));
    socket.on('disconnect', () => watched.is(false));
    return () => socket.disconnect();
  }),
  'clients/js': each((userId, watched) => {
    const phone = new Phone({ url: balancer.url, userId, deviceId: 'phone', token: () => `token-of-${userId}` });
    phone.onLink(({ status }) => watched.is(status === 'ready'));
    phone.connect();
    return () => phone.close();
  }),
  'clients/kotlin'(watched) {
    const classes = kotlinClasses();
    if (!classes) return () => {};
    const java = spawn('java', ['-cp', classes, 'app.onlycare.signaling.Crowd', balancer.url, String(watched.length)], { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: java.stdout }).on('line', (line) => {
      const [what, n] = line.split(' ');
      watched[Number(n)].is(what === 'ready');
    });
    return () => java.kill('SIGKILL');
  },
};

/** A kind whose phones live here, one by one. */
function each(make) {
  return (watched, at, kind) => {
    const all = watched.map((one, n) => make(`USR_${at}${kind.replace('/', '_')}${n}`, one));
    return () => all.forEach((close) => close());
  };
}

const replace = async (at, name) => (cluster.nodes[at] = await cluster.another(name));
const FAULTS = {
  'a node is killed': async () => void cluster.nodes[0].program.kill(),
  'a node is drained': async () => void cluster.nodes[0].program.child.kill('SIGTERM'),
  'Redis restarts empty': async () => {
    const redis = Program.all.findLast(({ name }) => name === 'redis');
    redis.kill();
    await new Promise((done) => (redis.exit ? done() : redis.child.once('exit', done)));
    const again = new Program('redis', 'redis-server', redis.child.spawnargs.slice(1));
    await again.until(async () => (await fetch(`${cluster.nodes[1].admin}/ready`)).status === 200, 'serve again');
  },
  'both nodes are away for 30 s': async () => {
    for (const node of cluster.nodes) node.program.kill();
    balancer.cut();
    await delay(30_000);
    await Promise.all([replace(0, `A${epoch}`), replace(1, `B${epoch}`)]);
  },
};

const wanted = process.argv[3]?.split(',') ?? Object.keys(FAULTS).map((_, at) => String(at));
console.log('| fault | kind | lost the connection | stranded | back, median s | p99 s | last s |\n| --- | --- | --- | --- | --- | --- | --- |');
for (const [at, [fault, happen]] of Object.entries(FAULTS).entries()) {
  if (!wanted.includes(String(at))) continue;
  const kinds = Object.entries(KINDS).filter(([kind]) => kind !== 'clients/kotlin' || kotlinClasses());
  const closing = [];
  const crowd = kinds.flatMap(([kind, begin]) => {
    const phones = Array.from({ length: count }, () => Object.assign(new Watched(), { kind }));
    closing.push(begin(phones, at, kind));
    return phones;
  });
  const deadline = performance.now() + 120_000;
  while (crowd.some(({ connected }) => !connected)) {
    if (performance.now() > deadline) throw new Error(`${crowd.filter(({ connected }) => !connected).length} phones never connected`);
    await delay(100);
  }
  // Everybody's upgrade to a websocket is over.
  await delay(3000);
  epoch = performance.now();
  await happen();
  const ended = performance.now();
  while (performance.now() - ended < STRANDED_MS && crowd.some(({ connected }) => !connected)) await delay(100);
  // Who hears late that he is cut is waited for as well.
  await delay(Math.max(0, 20_000 - (performance.now() - ended)));
  while (performance.now() - ended < STRANDED_MS && crowd.some(({ connected }) => !connected)) await delay(100);
  for (const [kind] of kinds) {
    if (kind !== 'deployed') stranded += crowd.filter((phone) => phone.kind === kind && !phone.connected).length;
    const lost = crowd.filter((phone) => phone.kind === kind && phone.lostAt);
    const times = lost.filter(({ connected, back }) => connected && back).map(({ back }) => back / 1000).sort((x, y) => x - y);
    const of = (share) => (times.length ? times[Math.min(times.length - 1, Math.ceil(share * times.length) - 1)].toFixed(1) : '–');
    console.log(`| ${fault} | ${kind} | ${lost.length} of ${count} | ${lost.filter(({ connected }) => !connected).length} | ${of(0.5)} | ${of(0.99)} | ${of(1)} |`);
  }
  for (const close of closing) close();
  await delay(2000);
  if (cluster.nodes[0].program.exit || at < 2) await replace(0, `next${at}`);
}
console.log(stranded ? `${stranded} phones of the libraries are stranded` : 'every phone of the libraries is back');
process.exit(stranded ? 1 : 0);

async function balance() {
  const sockets = new Set();
  let turn = 0;
  const server = createServer((near) => {
    near.on('error', () => {});
    const first = turn++;
    const reach = (tried) => {
      if (tried === cluster.nodes.length) return near.destroy();
      const { hostname, port } = new URL(cluster.nodes[(first + tried) % cluster.nodes.length].url);
      const far = connect(Number(port), hostname);
      far.once('error', () => reach(tried + 1));
      far.once('connect', () => {
        for (const [one, other] of [[near, far], [far, near]]) {
          sockets.add(one);
          one.on('error', () => other.destroy());
          one.on('close', () => { sockets.delete(one); other.destroy(); });
          one.pipe(other);
        }
      });
    };
    reach(0);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}`, cut: () => sockets.forEach((socket) => socket.destroy()) };
}
