// The shipped Prometheus configuration, rules and dashboards: promtool, and a real Prometheus that scrapes three nodes
// under load and has to answer every query of every dashboard and rule with data.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Program, SECRET, folder, freePort } from '../node/cluster.mjs';
import { MODES, call, open } from './phones.mjs';
import { assert, check, finish, root, run, skip, tool, yaml } from './tools.mjs';

const LOAD_MS = Number(process.argv[2] ?? 8_000);
const deploy = join(root, 'deploy');
const rulesFile = join(deploy, 'prometheus/rules/signaling.yml');

const rules = yaml(readFileSync(rulesFile, 'utf8'))[0].groups.flatMap((group) => group.rules);
const dashboards = readdirSync(join(deploy, 'grafana/dashboards')).map((file) => [file, JSON.parse(readFileSync(join(deploy, 'grafana/dashboards', file), 'utf8'))]);

await check('dashboards are what scripts/dashboards.mjs writes', () => run('node', [join(root, 'scripts/dashboards.mjs'), '--check']).stdout || undefined);

await check('every panel says what it shows, in a place of its own', () => {
  const uids = new Set();
  for (const [file, { uid, panels }] of dashboards) {
    assert(!uids.has(uid) && uids.add(uid), `${file}: ${uid} twice`);
    const taken = new Set();
    for (const { type, title, description, gridPos: { x, y, w, h } } of panels) {
      assert(title && (type === 'row' || description), `${file}: ${title}`);
      for (let i = x; i < x + w; i += 1) {
        for (let j = y; j < y + h; j += 1) {
          assert(i < 24 && !taken.has(`${i} ${j}`), `${file}: ${title} lies over another panel`);
          taken.add(`${i} ${j}`);
        }
      }
    }
  }
});

await check('every alert has a runbook that exists', () => {
  const headings = [...readFileSync(join(root, 'docs/operations.md'), 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, text]) => text.toLowerCase());
  for (const { alert, labels, annotations } of rules.filter((rule) => rule.alert)) {
    assert(annotations.runbook_url === `docs/operations.md#${alert.toLowerCase()}`, `${alert}: ${annotations.runbook_url}`);
    assert(headings.includes(alert.toLowerCase()), `docs/operations.md has no heading ${alert}`);
    assert(['critical', 'warning'].includes(labels.severity) && annotations.summary, alert);
  }
});

await check('every alert has a test', () => {
  const tests = readFileSync(join(deploy, 'prometheus/tests/signaling.yml'), 'utf8');
  for (const { alert } of rules.filter((rule) => rule.alert)) assert(tests.includes(`alertname="${alert}"`), alert);
});

if (!tool('promtool') || !tool('prometheus')) {
  skip('promtool and queries', 'prometheus is not there');
  finish('metrics');
}

await check('promtool check rules', () => expect(run(tool('promtool'), ['check', 'rules', rulesFile])));
await check('promtool test rules', () => expect(run(tool('promtool'), ['test', 'rules', join(deploy, 'prometheus/tests/signaling.yml')])));

const laravelPort = await freePort();
const laravel = new Program('laravel', process.execPath, [join(deploy, 'compose/laravel.mjs')], {
  PATH: process.env.PATH, PORT: String(laravelPort), HOST: '127.0.0.1',
});
await laravel.until(() => laravel.lines.some((line) => line.startsWith('listening')), 'listen');
const cluster = await Cluster.start(['A', 'B', 'C'], {
  AUTH: 'laravel',
  LARAVEL_API_URL: `http://127.0.0.1:${laravelPort}/api/v1`,
  WEBHOOK_URL: `http://127.0.0.1:${laravelPort}/webhook`,
  WEBHOOK_SECRET: `whsec_${Buffer.alloc(24, 'k').toString('base64')}`,
  WEBHOOK_ALLOW_PRIVATE: 'true',
});

const { port, program } = await prometheus();
// What happens before the first scrape increases nothing.
await program.until(async () => (await query('signaling_build_info')).length === 3, 'scrape all nodes');
await load();
// Two scrapes more.
await delay(2500);

let answered = 0;
for (const [file, { panels, templating, annotations }] of dashboards) {
  for (const { title, targets } of panels) {
    for (const { expr } of targets ?? []) await answers(`${file}, ${title}`, filled(expr));
  }
  for (const { expr } of annotations.list) await answers(`${file}, annotation`, bare(expr)[0]);
  for (const { query } of templating.list.filter(({ type }) => type === 'query')) {
    const [, metric, label] = /label_values\((\w+), (\w+)\)/.exec(query.query);
    await check(`${file}: ${query.query}`, async () => assert((await ask(`label/${label}/values?match[]=${metric}`)).length === 3, 'not three nodes'));
  }
}
for (const { alert, record, expr } of rules) {
  await check(`${alert ?? record}: is evaluated`, async () => void (await query(expr)));
  for (const part of bare(expr)) await answers(alert ?? record, part);
}
console.log(`metrics: ${answered} queries answered with data by a real Prometheus`);

await check('Prometheus evaluates all rules, and none of the alerts fires', async () => {
  const { groups } = await ask('rules');
  const all = groups.flatMap((group) => group.rules);
  assert(all.length === rules.length, `${all.length} of ${rules.length}`);
  const sick = all.filter(({ health }) => health !== 'ok').map(({ name, lastError }) => `${name}: ${lastError}`);
  assert(!sick.length, sick.join('\n'));
  const firing = all.filter(({ state }) => state === 'firing').map(({ name }) => name);
  assert(!firing.length, `firing: ${firing}`);
});

await check('promtool check metrics', async () => {
  const text = await (await fetch(`${cluster.nodes[0].admin}/metrics`)).text();
  const { stderr, stdout } = run(tool('promtool'), ['check', 'metrics'], { input: text });
  assert(!/error/i.test(stderr + stdout), stderr + stdout);
});

await check('no node stumbled', () => assert(!cluster.faults().length, cluster.faults().join('\n')));
finish('metrics');

function expect({ ok, text }) {
  assert(ok, text);
}

/** The shipped configuration, but impatient. */
async function prometheus() {
  const port = await freePort();
  const work = join(folder, 'prometheus');
  mkdirSync(join(work, 'targets'), { recursive: true });
  mkdirSync(join(work, 'rules'));
  const config = readFileSync(join(deploy, 'prometheus/prometheus.yml'), 'utf8');
  assert(config.includes('interval: 15s'), 'the shipped configuration has no interval of 15 s');
  writeFileSync(join(work, 'prometheus.yml'), config.replaceAll('interval: 15s', 'interval: 1s'));
  writeFileSync(join(work, 'rules/signaling.yml'), readFileSync(rulesFile));
  writeFileSync(join(work, 'targets/signaling.yml'), JSON.stringify([{ targets: cluster.nodes.map(({ admin }) => new URL(admin).host) }]));
  await check('promtool check config', () => expect(run(tool('promtool'), ['check', 'config', join(work, 'prometheus.yml')])));
  const program = new Program('prometheus', tool('prometheus'), [
    `--config.file=${work}/prometheus.yml`, `--storage.tsdb.path=${work}/data`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=error',
  ]);
  await program.until(async () => (await fetch(`http://127.0.0.1:${port}/-/ready`)).ok, 'be ready');
  return { port, program };
}

/** Calls of every kind and transport across nodes, and requests as Laravel sends them. */
async function load() {
  const [a, b, c] = cluster.nodes;
  const until = Date.now() + LOAD_MS;
  const errors = [];
  const play = (...call_) => call(...call_).catch((error) => errors.push(error.message));
  const patient = play(a.url, b.url, 'websocket', 'timeout');
  const endings = ['end', 'end', 'reject', 'cancel'];
  const worker = async (place) => {
    for (let turn = place; Date.now() < until; turn += 1) {
      const mode = Object.keys(MODES)[turn % 3];
      const [from, to] = [[a, b], [b, c], [c, a], [a, a]][turn % 4];
      await play(from.url, to.url, mode, endings[turn % endings.length]);
      await a.post('/api/emit/call-ended', { callId: `CALL_none_${turn}` });
      await b.get('/health');
      await delay(50);
    }
  };
  await Promise.all([patient, strayed(a, b), busy(a, b, c), stranger(a), ...[0, 1, 2].map(worker)]);
  await a.get('/api/connected-users', { secret: `${SECRET}-wrong`, headers: { 'X-Forwarded-For': '203.0.113.1' } });
  await check('the load went well', () => assert(!errors.length, errors.slice(0, 5).join('\n')));
}

/** A poll that reaches another node than its session's. */
async function strayed(own, other) {
  const open = await (await fetch(`${own.url}/socket.io/?EIO=4&transport=polling`)).text();
  const { sid } = JSON.parse(open.slice(1));
  await (await fetch(`${other.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`, { method: 'POST', body: '1' })).text();
}

async function busy(a, b, c) {
  const [ana, bo, cleo] = await Promise.all([open(a.url, 'websocket', 'USR_a'), open(b.url, 'websocket', 'USR_b'), open(c.url, 'websocket', 'USR_c')]);
  const offer = (callId) => ({ receiverId: 'USR_b', callId, callType: 'AUDIO', channelName: 'c', agoraToken: '' });
  await ana.emitWithAck('call:initiate', offer('CALL_first'));
  await cleo.emitWithAck('call:initiate', offer('CALL_second'));
  await ana.emitWithAck('call:cancel', { callId: 'CALL_first' });
  for (const phone of [ana, bo, cleo]) phone.disconnect();
}

/** Laravel says that its token is invalid. */
async function stranger(node) {
  await open(node.url, 'websocket', 'USR_stranger', { auth: { token: 'stolen', userId: 'USR_stranger' } }).catch(() => {});
}

async function ask(path) {
  const answer = await (await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)).json();
  if (answer.status !== 'success') throw new Error(`${path}: ${answer.error}`);
  return answer.data;
}

async function query(expr) {
  return (await ask(`query?query=${encodeURIComponent(expr)}`)).result;
}

async function answers(place, expr) {
  await check(`${place}: ${expr}`, async () => {
    const result = await query(expr);
    // What is there from the start is no data yet.
    assert(result.some(({ value: [, number] }) => number !== 'NaN'), result.length ? 'nothing but NaN' : 'no data');
    answered += 1;
  });
}

/** As Grafana would fill the variables in. */
function filled(expr) {
  return expr.replaceAll('$__rate_interval', '30s').replaceAll('$instance', '.*');
}

/** What an alert compares, without the comparisons that are to be false. */
function bare(expr) {
  return expr
    .replace(/^absent\((.*)\)$/, '$1')
    .split(/\s+(?:and|unless)\s+(?:on\([^)]*\)\s+)?/)
    .flatMap((part) => part.split(' != '))
    .map((part) => part.replace(/\s*(==|>|<)\s*[\d.]+$/, '').trim());
}
