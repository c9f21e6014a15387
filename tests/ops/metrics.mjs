// The shipped Prometheus and Alertmanager configuration, rules and dashboards: promtool, a real Prometheus that scrapes three
// nodes under load and has to answer every query of every dashboard and rule with data, and a real Alertmanager that has to
// wake somebody once a cause.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Program, SECRET, folder, freePort } from '../node/cluster.mjs';
import { MODES, call, open } from './phones.mjs';
import { assert, check, finish, root, run, skip, tool, yaml } from './tools.mjs';
import { upgrades } from './upgrades.mjs';

const GUIDE = 'https://github.com/onlycare/onlycare-signaling/blob/main/docs/operations.md';
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
    for (const { type, title, description, fieldConfig, gridPos: { x, y, w, h } } of panels) {
      assert(['row', 'alertlist'].includes(type) || (fieldConfig.defaults.unit && fieldConfig.defaults.thresholds.steps.length), `${file}: ${title}: unit, thresholds`);
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
    assert(annotations.runbook_url === `${GUIDE}#${alert.toLowerCase()}`, `${alert}: ${annotations.runbook_url}`);
    assert(headings.includes(alert.toLowerCase()), `docs/operations.md has no heading ${alert}`);
    assert(['critical', 'warning', 'none'].includes(labels.severity) && annotations.summary, alert);
  }
});

await check('Prometheus has a place for the Alertmanager that it tells', () => {
  const [{ alerting }] = yaml(readFileSync(join(deploy, 'prometheus/prometheus.yml'), 'utf8'));
  assert(alerting?.alertmanagers?.[0].static_configs?.[0].targets, 'alerts go nowhere');
});

await check('every alert has a test', () => {
  const tests = readFileSync(join(deploy, 'prometheus/tests/signaling.yml'), 'utf8');
  for (const { alert } of rules.filter((rule) => rule.alert)) assert(tests.includes(`alertname="${alert}"`), alert);
});

await check('what silences another alert goes on for as long', () => {
  const minutes = (text) => Number(text.slice(0, -1)) * { s: 1 / 60, m: 1, h: 60 }[text.at(-1)];
  // After its cause: what the shortest of its windows remembers, and what it is kept for.
  const lasts = ({ expr, keep_firing_for: kept = '0m' }) => {
    const windows = expr.replace(/signaling_draining\{[^}]*\}\[\w+\]|unless \( .*$/g, '').matchAll(/\[(\d+[smh])\]|signaling:budget_burn:(\d+[smh])/g);
    const all = [...windows].map(([, window, burn]) => minutes(window ?? burn));
    return (all.length ? Math.min(...all) : 0) + minutes(kept);
  };
  const named = ([matcher]) => rules.filter(({ alert }) => alert && new RegExp(`^(?:${/"(.*)"/.exec(matcher)[1]})$`).test(alert));
  const short = yaml(readFileSync(join(deploy, 'alertmanager/alertmanager.yml'), 'utf8'))[0].inhibit_rules.flatMap(({ source_matchers, target_matchers }) => {
    const loud = named(target_matchers).filter(({ labels }) => labels.severity === 'critical');
    return named(source_matchers).flatMap((source) => loud.filter((target) => lasts(target) > lasts(source)).map((target) => `${source.alert}: ${target.alert} comes after it`));
  });
  assert(!short.length, short.join('\n'));
});

await check('every rule is about one cluster', () => {
  for (const { alert, record, expr } of rules) {
    const name = alert ?? record;
    for (const { metric, labels } of selectors(expr)) assert(metric.includes(':') || labels.includes('job="signaling"'), `${name}: ${metric} of any job`);
    for (const [, operator, by] of expr.matchAll(/\b(sum|max|min|avg|count)\b\s*(by \([^)]*\))?/g)) {
      assert(by?.startsWith('by (namespace, release'), `${name}: ${operator} over all clusters`);
    }
    for (const [, labels] of expr.matchAll(/\bon \(([^)]*)\)/g)) assert(labels.startsWith('namespace, release'), `${name}: on (${labels})`);
    assert(!/\bon\(/.test(expr), `${name}: on()`);
  }
});

await check('every dashboard can be narrowed, and leads to runbooks, logs and alerts', () => {
  for (const [file, { templating, links, panels }] of dashboards) {
    const names = templating.list.map(({ name }) => name);
    for (const name of ['datasource', 'namespace', 'release', 'instance']) assert(names.includes(name), `${file}: ${name}`);
    assert(links.some(({ url }) => url === `${GUIDE}#runbooks`) && links.some(({ url }) => url?.startsWith('/explore')), `${file}: links`);
    for (const { expr } of panels.flatMap(({ targets }) => targets ?? [])) {
      for (const { metric, labels } of selectors(expr)) {
        assert(labels.includes('namespace=~"$namespace",release=~"$release"'), `${file}: ${metric} of all clusters`);
        assert(metric === 'ALERTS' || metric.includes(':') || labels.includes('instance=~"$instance"'), `${file}: ${metric} of all nodes`);
      }
    }
  }
  assert(dashboards.some(([, { panels }]) => panels.some(({ type }) => type === 'alertlist')), 'no list of alerts');
});

await check('every metric is on a panel or in a rule', () => {
  const used = new Set([...rules.map(({ expr }) => expr), ...dashboards.flatMap(([, { panels }]) => panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)))]
    .flatMap((expr) => selectors(expr)).map(({ metric }) => metric.replace(/_(bucket|count|sum)$/, '')));
  const table = [...readFileSync(join(root, 'docs/metrics.md'), 'utf8').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  const missing = table.filter((name) => !used.has(name));
  assert(table.length > 80 && !missing.length, `nobody would see ${missing.join(', ')}`);
});

await check('CPU is measured over more seconds than its counter is coarse', () => {
  const cpu = dashboards.flatMap(([, { panels }]) => panels).find(({ title }) => title === 'CPU');
  assert(cpu.targets.every(({ expr }) => expr.includes('[5m]')), 'a sawtooth');
});

if (!tool('promtool') || !tool('prometheus')) {
  skip('promtool and queries', 'prometheus is not there');
  finish('metrics');
}

await check('promtool check rules', () => expect(run(tool('promtool'), ['check', 'rules', rulesFile])));
await check('nothing fires while twelve nodes are upgraded one after the other', () => {
  for (const [kind, series] of Object.entries(upgrades())) {
    const file = join(folder, `${kind}.yml`);
    const quiet = Array.from({ length: 25 }, (_, minute) => ({ expr: 'ALERTS{alertstate="firing",alertname!="SignalingWatchdog"}', eval_time: `${minute + 1}m`, exp_samples: [] }));
    writeFileSync(file, JSON.stringify({ rule_files: [rulesFile], evaluation_interval: '15s', tests: [{ interval: '15s', input_series: series, promql_expr_test: quiet }] }));
    const { ok, text } = run(tool('promtool'), ['test', 'rules', file]);
    assert(ok, `${kind}: ${text.slice(0, 3000)}`);
  }
});
for (const stories of readdirSync(join(deploy, 'prometheus/tests'))) {
  await check(`promtool test rules ${stories}`, () => expect(run(tool('promtool'), ['test', 'rules', join(deploy, 'prometheus/tests', stories)])));
}

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
    for (const { expr } of targets ?? []) {
      const maybe = /signaling:budget_burn|_max_bytes/.test(expr);
      if (maybe) await check(`${file}, ${title}`, async () => void (await query(filled(expr))));
      else await answers(`${file}, ${title}`, filled(expr));
    }
  }
  for (const { expr } of annotations.list) await answers(`${file}, annotation`, filled(expr).replace(' == 1', ''));
  for (const { query } of templating.list.filter(({ type }) => type === 'query')) {
    const [, metric, label] = /label_values\((.+), (\w+)\)$/.exec(query.query);
    const wanted = label === 'instance' ? 3 : label === 'release' ? 1 : 0;
    await check(`${file}: ${query.query}`, async () => {
      const found = await ask(`label/${label}/values?match[]=${encodeURIComponent(filled(metric))}`);
      assert(found.length === wanted, `${found.length}, not ${wanted}`);
    });
  }
}
const asked = new Set();
for (const { alert, record, expr } of rules) {
  await check(`${alert ?? record}: is evaluated`, async () => void (await query(expr)));
  for (const { metric, labels } of selectors(expr)) {
    // What is recorded over an hour may divide nothing by nothing yet.
    if (asked.has(metric + labels) || metric.startsWith('signaling:budget_burn')) continue;
    asked.add(metric + labels);
    await answers(alert ?? record, metric + labels);
  }
}
console.log(`metrics: ${answered} queries answered with data by a real Prometheus`);

await check('Prometheus evaluates all rules, and none of the alerts fires', async () => {
  const { groups } = await ask('rules');
  const all = groups.flatMap((group) => group.rules);
  assert(all.length === rules.length, `${all.length} of ${rules.length}`);
  const sick = all.filter(({ health }) => health !== 'ok').map(({ name, lastError }) => `${name}: ${lastError}`);
  assert(!sick.length, sick.join('\n'));
  const firing = all.filter(({ state, name }) => state === 'firing' && name !== 'SignalingWatchdog').map(({ name }) => name);
  assert(!firing.length, `firing: ${firing}`);
});

await check('the phones of a killed node count once', async () => {
  const sessions = async (expr) => Number((await query(expr))[0]?.value[1]);
  const [a, , c] = cluster.nodes;
  const phones = await Promise.all(['x', 'y'].map((name) => open(c.url, 'websocket', `USR_${name}`)));
  await program.until(async () => (await sessions('signaling:sessions')) === 2, 'count two phones');
  c.program.child.kill('SIGKILL');
  for (const phone of phones) phone.disconnect();
  const moved = await Promise.all(['x', 'y'].map((name) => open(a.url, 'websocket', `USR_${name}`)));
  await program.until(async () => (await query('up{job="signaling"} == 0')).length === 1 && (await sessions('sum(signaling_sessions)')) === 2, 'notice the dead one');
  await program.until(async () => (await sessions('signaling:sessions')) === 2 && (await sessions('signaling:nodes')) === 2, 'count two phones and two nodes');
  for (const phone of moved) phone.disconnect();
  cluster.nodes.splice(2, 1);
});

// With the rules' own expressions: they are pending as soon as they say something.
await check('a node whose connections are used up, and one that takes a proxy for a phone, are told of', async () => {
  const full = await cluster.another('full', { MAX_CONNECTIONS: '20' });
  const proxied = await cluster.another('proxied', { MAX_CONNECTIONS: '20', MAX_CONNECTIONS_PER_ADDRESS: '8192' });
  const targets = Object.entries({ full, proxied }).map(([release, { admin }]) => ({ targets: [new URL(admin).host], labels: { release } }));
  writeFileSync(join(folder, 'prometheus/targets/full.yml'), JSON.stringify(targets));
  await program.until(async () => (await query('up{release=~"full|proxied"} == 1')).length === 2, 'scrape them');
  // What happens before the first scrape increases nothing.
  await delay(2500);
  const sockets = [full, proxied].flatMap(({ url }) => Array.from({ length: 30 }, () => connect(new URL(url).port, '127.0.0.1').on('error', () => {})));
  const told = async (name, release) => (await query(rules.find(({ alert }) => alert === name).expr)).some(({ metric }) => metric.release === release);
  await program.until(() => told('SignalingFilesRunOut', 'full'), 'tell of the full one');
  await program.until(() => told('SignalingOneAddress', 'proxied'), 'tell of the address');
  for (const socket of sockets) socket.destroy();
  for (const { program: node } of [full, proxied]) node.kill();
});

await alertmanager();

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
  writeFileSync(join(work, 'targets/signaling.yml'), JSON.stringify([{ targets: cluster.nodes.map(({ admin }) => new URL(admin).host), labels: { release: 'test' } }]));
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
  return expr.replaceAll('$__rate_interval', '30s').replace(/\$(instance|namespace|release)/g, '.*');
}

/** Every metric that an expression reads, with its labels in braces. */
function selectors(expr) {
  return [...expr.matchAll(/(?<![\w:"$])(signaling:[\w:]+|(?:signaling_|process_)\w+|up|ALERTS)(?=\s*[{[)]|\s|$)(\{[^}]*\})?/g)].map(([, metric, labels = '']) => ({ metric, labels }));
}

/** What is left to wake somebody when all this fires at once. */
async function alertmanager() {
  const config = join(deploy, 'alertmanager/alertmanager.yml');
  if (!tool('amtool') || !tool('prometheus-alertmanager')) return skip('Alertmanager', 'it is not there');
  await check('amtool check-config', () => expect(run(tool('amtool'), ['check-config', config])));
  for (const [labels, receiver] of [
    ['severity=critical alertname=SignalingNodeDown', 'pager'], ['severity=warning alertname=SignalingOutboxOld', 'chat'],
    ['severity=none alertname=SignalingWatchdog', 'watchdog'], ['severity=none alertname=SignalingOther', 'nobody'],
  ]) {
    await check(`amtool config routes test ${labels}`, () => expect(run(tool('amtool'), ['config', 'routes', 'test', `--config.file=${config}`, `--verify.receivers=${receiver}`, ...labels.split(' ')])));
  }
  const known = new Map(rules.filter(({ alert }) => alert).map(({ alert, labels }) => [alert, labels.severity]));
  await check('inhibitions name alerts that exist', () => {
    for (const { source_matchers, target_matchers } of yaml(readFileSync(config, 'utf8'))[0].inhibit_rules) {
      for (const matcher of [...source_matchers, ...target_matchers]) {
        const pattern = new RegExp(`^(?:${/"(.*)"/.exec(matcher)[1]})$`);
        assert([...known.keys()].some((name) => pattern.test(name)), matcher);
        for (const name of pattern.source.matchAll(/Signaling\w+(?=\$|\))/g)) assert(known.has(name[0]) || name.input.includes('('), name[0]);
      }
    }
  });
  const at = await freePort();
  const program = new Program('alertmanager', tool('prometheus-alertmanager'), [
    `--config.file=${config}`, `--storage.path=${join(folder, 'alertmanager')}`, `--web.listen-address=127.0.0.1:${at}`, '--cluster.listen-address=', '--log.level=error',
  ]);
  await program.until(async () => (await fetch(`http://127.0.0.1:${at}/-/ready`)).ok, 'be ready');
  const CAUSES = {
    RedisAway: 'RedisAway StoreUnhealthy StoreFails BusUnhealthy EventsFail NodeEventsFail RingsSlow VerdictsSlow VerdictsDropped StoreLost ReconnectStorm HandshakesRefused NodeHandshakesRefused ApiFails BudgetBurnsFast GhostRings NodesDisagree PushesExpire',
    NodeDown: 'NodeDown ReconnectStorm HandshakesRefused NodeHandshakesRefused NodesMissing NodesDisagree RelaysFail BudgetBurnsFast',
    NodesApart: 'NodesApart NodesDisagree RelaysFail ReconnectStorm',
    ReconnectStorm: 'ReconnectStorm HandshakesRefused NodeHandshakesRefused',
    NodesMissing: 'NodesMissing ReconnectStorm HandshakesRefused NodeHandshakesRefused',
    EventsFail: 'EventsFail NodeEventsFail NodeSlow BudgetBurnsFast ApiFails',
    NodeEventsFail: 'NodeEventsFail NodeSlow BudgetBurnsFast ApiFails',
    HandshakesRefused: 'HandshakesRefused NodeHandshakesRefused',
    NodeHandshakesRefused: 'NodeHandshakesRefused',
    StoreUnhealthy: 'StoreUnhealthy StoreFails BusUnhealthy NodesDisagree RelaysFail NodeSlow NodeEventsFail ReconnectStorm HandshakesRefused',
    BusUnhealthy: 'BusUnhealthy RingsSlow VerdictsSlow BudgetBurnsFast',
    StoreFails: 'StoreFails EventsFail NodeEventsFail RingsSlow VerdictsSlow BudgetBurnsFast NodeSlow ApiFails',
    RingsSlow: 'RingsSlow VerdictsSlow NodeSlow BudgetBurnsFast',
    TokensUnverified: 'TokensUnverified NodeTokensUnverified PushesExpire ReconnectStorm',
    TokensRefused: 'TokensRefused ReconnectStorm',
    NodeTokensUnverified: 'NodeTokensUnverified PushesExpire',
    LaravelRouteMissing: 'LaravelRouteMissing TokensUnverified NodeTokensUnverified PushesExpire ReconnectStorm',
    WebhooksOff: 'WebhooksOff PushesExpire OutboxDrops',
    NodeRestarts: 'NodeRestarts NodeDown ReconnectStorm NodesMissing HandshakesRefused',
    Absent: 'Absent',
  };
  const alerts = Object.entries(CAUSES).flatMap(([cause, names]) => names.split(' ').map((name) => ({
    labels: { alertname: `Signaling${name}`, severity: known.get(`Signaling${name}`) ?? 'unknown', namespace: 'calls', release: cause.toLowerCase(), instance: 'n1' },
    annotations: { cause },
  })));
  // Where targets are listed nobody knows of which cluster nothing is.
  for (const { labels } of alerts.filter(({ annotations }) => annotations.cause === 'Absent')) {
    for (const name of ['namespace', 'release', 'instance']) delete labels[name];
  }
  // Another cluster, that is in no such trouble.
  alerts.push({ labels: { alertname: 'SignalingStoreLost', severity: 'critical', namespace: 'calls', release: 'other' }, annotations: { cause: 'other' } });
  const posted = await fetch(`http://127.0.0.1:${at}/api/v2/alerts`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(alerts) });
  assert(posted.ok, await posted.text());
  const all = async () => (await fetch(`http://127.0.0.1:${at}/api/v2/alerts`)).json();
  await program.until(async () => (await all()).length === alerts.length, 'know all alerts');
  const loud = (await all()).filter(({ status, labels }) => !status.inhibitedBy.length && labels.severity === 'critical');
  for (const cause of [...Object.keys(CAUSES), 'other']) {
    await check(`one page for ${cause}`, () => {
      const pages = loud.filter(({ annotations }) => annotations.cause === cause).map(({ labels }) => labels.alertname);
      assert(`${pages}` === `Signaling${cause === 'other' ? 'StoreLost' : cause}`, `${pages}`);
    });
  }
}
