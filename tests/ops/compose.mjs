// docker-compose.yml: valid, mounts what is shipped, and, with processes in place of containers, phones call across its
// nodes through its nginx with tokens that its stand-in for Laravel knows.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster, Program, folder, freePort } from '../node/cluster.mjs';
import { callThrough, open } from './phones.mjs';
import { assert, check, finish, root, run, skip, tool, yaml } from './tools.mjs';

const file = join(root, 'docker-compose.yml');
const { services } = yaml(readFileSync(file, 'utf8'))[0];

if (tool('docker-compose')) {
  await check('docker-compose config', () => {
    const { ok, text } = run(tool('docker-compose'), ['-f', file, 'config', '-q']);
    assert(ok && !text, text);
  });
} else skip('docker-compose config', 'it is not there');

await check('what is mounted is there', () => {
  const mounts = Object.values(services).flatMap(({ volumes = [] }) => volumes);
  for (const mount of mounts) {
    const [source, , mode] = mount.split(':');
    assert(existsSync(join(root, source)) && mode === 'ro', mount);
  }
  for (const shipped of ['deploy/nginx/signaling-locations.conf', 'deploy/prometheus/rules', 'deploy/prometheus/prometheus.yml', 'deploy/grafana/dashboards']) {
    assert(mounts.some((mount) => mount.startsWith(`./${shipped}:`)), `${shipped} is not mounted`);
  }
});

await check('Prometheus scrapes the nodes of the file', () => {
  const [{ targets }] = yaml(readFileSync(join(root, 'deploy/compose/targets.yml'), 'utf8'))[0];
  const nodes = Object.keys(services).filter((name) => name.startsWith('node-'));
  assert(`${targets}` === `${nodes.map((name) => `${name}:9001`)}`, `${targets}`);
});

await check('one of the nodes builds the image that all have', () => {
  const nodes = Object.keys(services).filter((name) => name.startsWith('node-'));
  assert(nodes.filter((name) => services[name].build).length === 1, 'builds');
  assert(new Set(nodes.map((name) => services[name].image)).size === 1, 'images');
});

await check('a node has time for its drain', () => {
  const seconds = Number(/^(\d+)s$/.exec(services['node-a'].stop_grace_period)[1]);
  assert(seconds >= 35, `${seconds} s`);
});

if (tool('nginx')) {
  const laravelPort = await freePort();
  const laravel = new Program('laravel', process.execPath, [join(root, 'deploy/compose/laravel.mjs')], { PATH: process.env.PATH, PORT: String(laravelPort), HOST: '127.0.0.1' });
  await laravel.until(() => laravel.lines.some((line) => line.startsWith('listening')), 'listen');
  // The cluster of the tests brings a Redis of its own.
  const { REDIS_URL, ...environment } = services['node-a'].environment;
  assert(REDIS_URL, 'nodes without Redis');
  const cluster = await Cluster.start(['a', 'b', 'c'], {
    ...environment,
    AUTH: 'laravel',
    LOG_FORMAT: 'json',
    LARAVEL_API_URL: environment.LARAVEL_API_URL.replace('laravel:8000', `127.0.0.1:${laravelPort}`),
  });
  const urls = cluster.nodes.map(({ url }) => url).join();
  const helmTest = (more) => new Promise((done) => {
    const program = new Program('call.mjs', process.execPath, [join(root, 'helm/files/call.mjs')], { PATH: process.env.PATH, NODES: urls, ...more });
    program.child.on('close', (code) => done({ code, text: program.lines.join('\n') }));
  });
  await check('the script of helm test calls across two nodes', async () => {
    const { code, text } = await helmTest({ CALLER_ID: 'Ana', CALLER_TOKEN: 'token-of-Ana', CALLEE_ID: 'Bo', CALLEE_TOKEN: 'token-of-Bo' });
    assert(code === 0 && /rang http.* heard the accept/.test(text), text);
  });
  await check('and finds nodes as the resolver of the system does, by a name that is in no DNS', async () => {
    const users = { CALLER_ID: 'Ana', CALLER_TOKEN: 'token-of-Ana', CALLEE_ID: 'Bo', CALLEE_TOKEN: 'token-of-Bo' };
    const { code, text } = await helmTest({ ...users, NODES: '', NODES_NAME: 'localhost', NODES_PORT: new URL(cluster.nodes[0].url).port });
    assert(code === 0 && text.includes('only one node') && text.includes('heard the accept'), text);
  });
  await check('and waits for nodes that are not there yet', async () => {
    const port = await freePort();
    const program = new Program('call.mjs', process.execPath, [join(root, 'helm/files/call.mjs')], { PATH: process.env.PATH, NODES: `http://127.0.0.1:${port}` });
    await program.until(() => program.lines.includes('0 of 1 nodes are ready'), 'say that it waits');
    program.kill();
  });
  await check('and fails where a call fails', async () => {
    const { code, text } = await helmTest({ CALLER_ID: 'Ana', CALLER_TOKEN: 'token-of-Ana', CALLEE_ID: 'Bo', CALLEE_TOKEN: 'stolen' });
    assert(code === 1 && text.includes('refused'), text);
  });
  await check('and without users says what it did not do', async () => {
    const { code, text } = await helmTest({});
    assert(code === 0 && text.includes('Invalid token') && text.includes('NO CALL WAS MADE'), text);
  });
  const address = await nginx(cluster.nodes);
  await check('the test page', async () => {
    const wanted = { '/': 200, '/web/app.js': 200, '/web/style.css': 200, '/web/test/page.mjs': 404, '/api/connected-users': 404, '/metrics': 404, '/health': 200 };
    for (const [path, status] of Object.entries(wanted)) {
      const answer = await fetch(address + path);
      assert(answer.status === status, `${path}: ${answer.status}`);
    }
    assert((await (await fetch(address)).text()).includes('<h1>Phones</h1>'), 'not the page');
  });
  await check('phones call', async () => {
    const errors = await callThrough(address, 4);
    assert(!errors.length, errors.map(({ message }) => message).join('\n'));
  });
  await check('across nodes, with the tokens of the page', async () => {
    const page = readFileSync(join(root, 'web/setup.js'), 'utf8');
    assert(page.includes('token: `token-of-${user}`'), 'the page has other tokens');
    const phones = await Promise.all(['Ana', 'Bo', 'Cleo', 'Dora'].map((user) => open(address, 'websocket', user)));
    const sessions = await Promise.all(cluster.nodes.map(async ({ admin }) => /^signaling_sessions (\d+)/m.exec(await (await fetch(`${admin}/metrics`)).text())[1]));
    assert(sessions.every((count) => count > 0), `sessions by node: ${sessions}`);
    for (const phone of phones) phone.disconnect();
  });
} else skip('calls through the nginx of compose', 'nginx is not there');

finish('compose');

async function nginx(nodes) {
  const port = await freePort();
  const work = join(folder, 'compose');
  mkdirSync(work);
  let config = readFileSync(join(root, 'deploy/compose/nginx.conf'), 'utf8');
  const changes = {
    'include mime.types': 'include /etc/nginx/mime.types',
    'listen 80': `listen 127.0.0.1:${port}`,
    'include signaling-locations.conf': `include ${root}/deploy/nginx/signaling-locations.conf`,
    'root /usr/share/nginx/page/web': `root ${root}/web`,
    'root /usr/share/nginx/page;': `root ${root};`,
    ...Object.fromEntries(['a', 'b', 'c'].map((name, i) => [`node-${name}:3001`, new URL(nodes[i].url).host])),
  };
  for (const [from, to] of Object.entries(changes)) {
    assert(config.includes(from), `deploy/compose/nginx.conf has no ${from}`);
    config = config.replaceAll(from, to);
  }
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${work}/${kind};`);
  // Workers may read what root owns.
  writeFileSync(join(work, 'nginx.conf'), `user root; ${config.replace('http {', `http { ${temporary.join(' ')}`)}`);
  const program = new Program('nginx', tool('nginx'), ['-e', 'stderr', '-p', work, '-c', `${work}/nginx.conf`, '-g', `daemon off; master_process off; pid ${work}/pid;`]);
  const address = `http://127.0.0.1:${port}`;
  await program.until(async () => (await fetch(`${address}/health`)).ok, 'serve').catch((error) => {
    throw new Error(`${error.message}\n${program.lines.join('\n')}`);
  });
  return address;
}
