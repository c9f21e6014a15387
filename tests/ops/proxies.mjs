// The shipped nginx and HAProxy configurations, with addresses and certificate put in, before three nodes: phones call
// through them, nothing else is published, and the optional routes by session id save hops.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { Cluster, Program, answersPing, folder, freePort } from '../node/cluster.mjs';
import { callThrough } from './phones.mjs';
import { assert, check, finish, root, run, skip, tool } from './tools.mjs';

const PAIRS = Number(process.argv[2] ?? 6);
const read = (path) => readFileSync(join(root, 'deploy', path), 'utf8');

const cluster = await Cluster.start(['A', 'B', 'C'], { TRUSTED_PROXIES: '127.0.0.1/32' });
const [certificate, key] = makeCertificate();
const forwarded = {};

if (tool('nginx')) {
  await prove('nginx', await nginx('nginx'));
  // What the deployed server's nginx sends with every request.
  await prove('nginx that upgrades always', await nginx('always', { upgradeAlways: true }));
  await prove('nginx with routes', await nginx('routes', { routes: true }));
  await check('nginx with routes forwards less', () => {
    const [without, within] = [forwarded.nginx, forwarded['nginx with routes']];
    console.log(`nginx: ${without} requests forwarded between nodes, with routes ${within}`);
    assert(without > 0 && within === 0, `${without} without, ${within} with routes`);
  });
} else skip('nginx', 'it is not there');

if (tool('haproxy')) {
  await prove('haproxy', await haproxy('haproxy'));
  await prove('haproxy with routes', await haproxy('haproxy-routes', { routes: true }));
  await check('haproxy with routes forwards less', () => {
    const [without, within] = [forwarded.haproxy, forwarded['haproxy with routes']];
    console.log(`haproxy: ${without} requests forwarded between nodes, with routes ${within}`);
    assert(without > 0 && within === 0, `${without} without, ${within} with routes`);
  });
} else skip('haproxy', 'it is not there');

await check('no node stumbled', () => assert(!cluster.faults().length, cluster.faults().join('\n')));
finish('proxies');

async function prove(name, { plain, secure }) {
  const before = await hops();
  await check(`${name}: phones call`, async () => {
    const errors = await callThrough(`https://127.0.0.1:${secure}`, PAIRS);
    assert(!errors.length, `${errors.length} of ${3 * PAIRS} calls failed\n${errors.map(({ message }) => message).join('\n')}`);
  });
  forwarded[name] = (await hops()) - before;
  await check(`${name}: what is published`, async () => {
    const wanted = {
      '/health': 200, '/socket-health': 200, '/socket.io/?EIO=4&transport=polling': 200,
      '/': 404, '/api/connected-users': 404, '/api/emit/call-ended': 404, '/metrics': 404, '/live': 404, '/ready': 404,
      '/health/../api/connected-users': 404, '/socket.io/../api/connected-users': 404,
      '/socket.io/%2e%2e/api/connected-users': 404, '//api/connected-users': 404,
    };
    for (const [path, status] of Object.entries(wanted)) {
      const answer = await get(secure, path);
      assert(answer.status === status || (status === 404 && answer.status === 400), `${path}: ${answer.status}, not ${status}`);
      if (path.endsWith('health')) assert(JSON.parse(answer.body).status === 'OK', answer.body);
    }
  });
  await check(`${name}: http becomes https`, async () => {
    const answer = await fetch(`http://127.0.0.1:${plain}/health`, { redirect: 'manual' });
    assert(answer.status === 301 && answer.headers.get('location').startsWith('https://'), `${answer.status}`);
  });
}

/** As it is written: `fetch` would tidy the path up. */
function get(port, path) {
  return new Promise((done, failed) => {
    const sent = request({ host: '127.0.0.1', port, path, rejectUnauthorized: false }, (answer) => {
      let body = '';
      answer.on('data', (data) => (body += data)).on('end', () => done({ status: answer.statusCode, body }));
    });
    sent.on('error', failed).end();
  });
}

async function hops() {
  let total = 0;
  for (const { admin } of cluster.nodes) {
    const text = await (await fetch(`${admin}/metrics`)).text();
    total += Number(/^signaling_relayed_total\{outcome="forwarded"\} (\d+)/m.exec(text)?.[1] ?? 0);
  }
  return total;
}

function addresses() {
  return cluster.nodes.map(({ url }) => url.slice('http://'.length));
}

function sessionRoutes(form, file) {
  const { ok, stdout, text } = run(join(root, 'deploy/nginx/session-routes'), [form, ...addresses()]);
  if (!ok || stdout.trim().split('\n').length !== cluster.nodes.length) throw new Error(`session-routes: ${text}`);
  writeFileSync(file, stdout);
}

async function nginx(name, { upgradeAlways = false, routes = false } = {}) {
  const [plain, secure] = [await freePort(), await freePort()];
  const work = join(folder, name);
  mkdirSync(work);
  const nodes = addresses();
  let site = replaced(read('nginx/signaling.conf'), {
    'listen 80;': `listen 127.0.0.1:${plain};`,
    'listen 443 ssl;': `listen 127.0.0.1:${secure} ssl;`,
    'listen [::]:80;': '',
    'listen [::]:443 ssl;': '',
    '10.0.0.11:3001': nodes[0],
    '10.0.0.12:3001': nodes[1],
    '10.0.0.13:3001': nodes[2],
    '/etc/nginx/tls/signaling.crt': certificate,
    '/etc/nginx/tls/signaling.key': key,
    '/etc/nginx/signaling-locations.conf': join(work, 'signaling-locations.conf'),
  });
  let locations = read('nginx/signaling-locations.conf');
  if (upgradeAlways) locations = replaced(locations, { 'Connection $signaling_connection': 'Connection "upgrade"' });
  if (routes) {
    sessionRoutes('nginx', join(work, 'signaling-routes.map'));
    const shipped = read('nginx/signaling-routes.conf');
    const optional = uncommented(shipped.slice(shipped.indexOf('# map')), /^# /);
    const [map, ...rest] = optional.split(/^(?=location)/m);
    site = `${map.replace('/etc/nginx/signaling-routes.map', join(work, 'signaling-routes.map'))}\n${site}`;
    locations = locations.replace(/location \/socket\.io\/ \{[^]*?\n\}/, rest.join(''));
  }
  writeFileSync(join(work, 'signaling-locations.conf'), locations);
  writeFileSync(join(work, 'site.conf'), site);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${work}/${kind};`);
  writeFileSync(join(work, 'nginx.conf'), `daemon off; master_process off; pid ${work}/pid; error_log stderr error;
    events { worker_connections 8192; }
    http { access_log off; ${temporary.join(' ')} include ${work}/site.conf; }`);
  const program = new Program(name, tool('nginx'), ['-e', 'stderr', '-p', work, '-c', `${work}/nginx.conf`]);
  await program.until(() => answersPing(plain, 'GET /health HTTP/1.0\r\n\r\n', 'HTTP/1.1 301'), 'serve').catch((error) => {
    throw new Error(`${error.message}\n${program.lines.join('\n')}`);
  });
  return { plain, secure };
}

async function haproxy(name, { routes = false } = {}) {
  const [plain, secure] = [await freePort(), await freePort()];
  const work = join(folder, name);
  mkdirSync(work);
  const pem = join(work, 'signaling.pem');
  writeFileSync(pem, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'));
  const servers = Object.fromEntries(['11', '12', '13'].map((host, i) => {
    const { url, admin } = cluster.nodes[i];
    const address = url.slice('http://'.length);
    return [`server 10_0_0_${host}_3001 10.0.0.${host}:3001`, `server ${address.replace(/[.:]/g, '_')} ${address} port ${new URL(admin).port}`];
  }));
  let config = replaced(read('haproxy/haproxy.cfg'), {
    'bind :80': `bind 127.0.0.1:${plain}`,
    'bind :443': `bind 127.0.0.1:${secure}`,
    '/etc/haproxy/tls/signaling.pem alpn': `${pem} alpn`,
    'stats socket /run/haproxy/admin.sock': `stats socket ${work}/admin.sock`,
    'maxconn 100000': 'maxconn 2000',
    'log /dev/log local0': 'log stderr format raw local0',
    ...servers,
  });
  if (routes) {
    sessionRoutes('haproxy', join(work, 'routes.map'));
    config = uncommented(config, /^ {4}# use-server/).replaceAll('/etc/haproxy/signaling-routes.map', join(work, 'routes.map'));
  }
  writeFileSync(join(work, 'haproxy.cfg'), config);
  const arguments_ = ['-f', join(work, 'haproxy.cfg')];
  const checked = run(tool('haproxy'), ['-c', ...arguments_]);
  await check(`${name}: accepted without warnings`, () => assert(checked.ok && !/WARN/i.test(checked.text), checked.text));
  const program = new Program(name, tool('haproxy'), ['-db', ...arguments_]);
  await program.until(async () => (await get(secure, '/health')).status === 200, 'serve').catch((error) => {
    throw new Error(`${error.message}\n${program.lines.join('\n')}`);
  });
  return { plain, secure };
}

function makeCertificate() {
  const [certificate, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
  const subject = ['-subj', '/CN=calls.example.com', '-days', '2', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  const { ok, text } = run('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', certificate]);
  if (!ok) throw new Error(text);
  return [certificate, key];
}

/** Every key must be there: a test of another file than the shipped one proves nothing. */
function replaced(text, changes) {
  for (const [from, to] of Object.entries(changes)) {
    assert(text.includes(from), `the shipped file has no ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** Takes the comment sign off the lines that match. */
function uncommented(text, pattern) {
  return text.split('\n').map((line) => (pattern.test(line) ? line.replace('# ', '') : line)).join('\n');
}
