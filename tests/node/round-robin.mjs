// Official clients behind a plain nginx round robin (no hash, no cookie) over three nodes: every phone connects at its
// first try and completes a call. `node round-robin.mjs [phones per mode]`, 100 by default, an even number.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { io } from 'socket.io-client';
import { Cluster, Program, answersPing, freePort, folder } from './cluster.mjs';

const PHONES = Number(process.argv[2] ?? 100);
const AT_ONCE = 10;
const PATIENCE_MS = 15_000;
const MODES = {
  'polling only': { transports: ['polling'], upgrade: false },
  'polling, then websocket': { transports: ['polling', 'websocket'] },
};

const cluster = await Cluster.start(['A', 'B', 'C']);
const proxy = await startNginx(cluster.nodes);
let failed = 0;
for (const [mode, options] of Object.entries(MODES)) {
  const outcomes = [];
  const pairs = Array.from({ length: PHONES / 2 }, (_, pair) => pair);
  const work = async () => {
    for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
      outcomes.push(await call(options, `${mode.slice(0, 8).replace(/\W/g, '')}${pair}`).catch((error) => error));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const errors = outcomes.filter((outcome) => outcome instanceof Error);
  failed += errors.length;
  console.log(`${mode}: ${PHONES - 2 * errors.length} of ${PHONES} phones connected at the first try and completed a call`);
  for (const error of errors.slice(0, 5)) console.log(`  ${error.message}`);
}
const faults = cluster.faults();
for (const fault of faults) console.log(fault);
if (failed || faults.length) Cluster.printLogs();
process.exit(failed || faults.length ? 1 : 0);

/** Two phones connect through the proxy, one rings, the other accepts and hangs up. */
async function call(options, name) {
  const [ana, bo] = await Promise.all([connect(options, `USR_ana_${name}`), connect(options, `USR_bo_${name}`)]);
  const callId = `CALL_${name}_${Date.now()}`;
  const incoming = heard(bo, 'call:incoming');
  const accepted = heard(ana, 'call:accepted');
  const ended = heard(ana, 'call:ended');
  const ack = await ana.timeout(PATIENCE_MS).emitWithAck('call:initiate', {
    receiverId: `USR_bo_${name}`, callId, callType: 'AUDIO', channelName: 'c', agoraToken: '',
  });
  if (!ack.success) throw new Error(`initiate: ${JSON.stringify(ack)}`);
  await incoming;
  bo.emit('call:accept', { callId });
  await accepted;
  bo.emit('call:end', { callId });
  await ended;
  ana.disconnect();
  bo.disconnect();
}

function connect(options, userId) {
  const auth = { token: 't', userId, acks: true };
  const socket = io(proxy, { ...options, auth, forceNew: true, reconnection: false });
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`${userId} did not connect`)), PATIENCE_MS);
    socket.on('connect_error', (error) => fail(new Error(`${userId}: ${error.message} ${error.context?.status ?? ''}`)));
    const ready = () => {
      clearTimeout(timer);
      done(socket);
    };
    socket.once('session:ready', () => {
      const { engine } = socket.io;
      if (options.upgrade === false || engine.transport.name === 'websocket') ready();
      else engine.once('upgrade', ready);
    });
  });
}

function heard(socket, event) {
  const promise = new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no ${event}`)), PATIENCE_MS);
    socket.once(event, (payload) => {
      clearTimeout(timer);
      done(payload);
    });
    socket.once('disconnect', (reason, details) => {
      fail(new Error(`disconnected while waiting for ${event}: ${reason} ${details?.context?.status ?? ''} ${details?.context?.responseText ?? ''}`));
    });
  });
  // Its failure is found where it is awaited, or after another's.
  promise.catch(() => {});
  return promise;
}

async function startNginx(nodes) {
  const port = await freePort();
  const work = join(folder, 'nginx');
  mkdirSync(work);
  const servers = nodes.map(({ url }) => `server ${url.slice('http://'.length)};`).join(' ');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  writeFileSync(join(work, 'nginx.conf'), `
    daemon off; master_process off; pid ${work}/pid; error_log stderr warn;
    events { worker_connections 8192; }
    http {
      access_log off;
      ${temporary.map((kind) => `${kind}_temp_path ${work}/${kind};`).join(' ')}
      map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      upstream nodes { ${servers} keepalive 64; }
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://nodes;
          proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $connection_upgrade;
          proxy_read_timeout 90s;
        }
      }
    }`);
  const nginx = new Program('nginx', 'nginx', ['-e', 'stderr', '-p', work, '-c', `${work}/nginx.conf`]);
  await nginx.until(() => answersPing(port, 'GET /health HTTP/1.0\r\n\r\n', 'HTTP/1.1 200'), 'serve');
  return `http://127.0.0.1:${port}`;
}
