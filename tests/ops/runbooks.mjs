// Runbooks: what they name exists (options, metrics, panels, routes, alerts), and what they say of a Redis in trouble, of the
// outbox and of secrets is walked on real nodes, word for word.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster, Program, SECRET } from '../node/cluster.mjs';
import { assert, check, finish, root, run, skip, tool, yaml } from './tools.mjs';

const read = (path) => readFileSync(join(root, path), 'utf8');
const runbooks = read('docs/operations.md').split('\n# Runbooks\n')[1];
const codes = [...runbooks.replaceAll('\n', ' ').matchAll(/`([^`]+)`/g)].map(([, code]) => code);
const named = (pattern) => [...new Set(codes.flatMap((code) => code.match(pattern) ?? []))];

await check('options that are named exist', () => {
  const table = read('docs/configuration.md');
  // Of Laravel, of Redis, of Kubernetes, of our log.
  const others = ['WEBSOCKET_SECRET'];
  const options = named(/\b[A-Z]+(?:_[A-Z]+)+\b/g).filter((name) => !others.includes(name));
  const wrong = options.filter((name) => !table.includes(`| \`${name.replace(/_FILE$/, '')}\` |`));
  assert(options.length > 12 && !wrong.length, `${wrong}`);
});

await check('metrics that are named exist', () => {
  const table = read('docs/metrics.md');
  const metrics = named(/\bsignaling_[a-z_]+/g);
  const wrong = metrics.filter((name) => !table.includes(`\`${name}\``));
  assert(metrics.length > 5 && !wrong.length, `${wrong}`);
});

await check('panels and dashboards that are named exist', () => {
  const folder = 'deploy/grafana/dashboards';
  const titles = readdirSync(join(root, folder)).flatMap((file) => {
    const { title, panels } = JSON.parse(read(join(folder, file)));
    return [title, ...panels.flatMap(({ title, panels = [] }) => [title, ...panels.map((panel) => panel.title)])];
  });
  const known = titles.map((title) => title.toLowerCase()).join('\n');
  const italic = [...runbooks.replaceAll('\n', ' ').matchAll(/(?<![*\w])\*([^*]+)\*(?![*\w])/g)].map(([, text]) => text);
  const wrong = italic.filter((text) => !known.includes(text.toLowerCase()));
  assert(italic.length > 10 && !wrong.length, `${wrong.join(' | ')}`);
});

await check('alerts that are named have a rule', () => {
  const rules = readdirSync(join(root, 'deploy/prometheus/rules')).map((file) => read(`deploy/prometheus/rules/${file}`));
  const alerts = new Set(rules.flatMap((text) => yaml(text)[0].groups.flatMap(({ rules }) => rules.map(({ alert }) => alert))));
  const wrong = [...new Set(runbooks.match(/\bSignaling[A-Z]\w+/g))].filter((name) => !alerts.has(name));
  assert(!wrong.length, `${wrong}`);
});

await check('files and scripts that are named exist', () => {
  assert(read('deploy/systemd/install.sh').includes('--rollback'), '--rollback');
  assert(run(join(root, 'target/debug/onlycare-signaling'), ['--help']).text.includes('--print-config'), '--print-config');
});

if (tool('redis-server') && tool('redis-cli')) await walk();
else skip('walks', 'redis-server or redis-cli is not there');
finish('runbooks');

async function walk() {
  const cluster = await Cluster.start(['a', 'b']);
  const [node] = cluster.nodes;
  const [, port] = Program.all.find(({ name }) => name === 'redis').child.spawnargs.slice(1);
  // tests/ops/redis.mjs runs them as their user, on the shipped settings.
  const ADMIN = 'redis-cli --user admin --askpass ';
  const redis = (line) => {
    const { ok, text } = run('redis-cli', ['-p', port, ...line.split(' ')]);
    assert(ok && !/^(ERR|WRONG)/.test(text), `redis-cli ${line}: ${text}`);
    return text;
  };
  const sh = (line) => {
    const { ok, stdout, text } = run('sh', ['-c', line.replace('http://127.0.0.1:9001', node.admin)]);
    assert(ok, `${line}: ${text}`);
    return stdout;
  };
  const command = (start) => codes.find((code) => code.startsWith(start)) ?? assert(false, `no runbook says ${start}`);

  await check('commands for Redis are known there', () => {
    assert(redis(command(`${ADMIN}ping`).replace(ADMIN, '')) === 'PONG', 'no PONG');
    for (const what of ['slowlog get', 'latency doctor', 'role']) redis(command(`${ADMIN}${what}`).replace(ADMIN, ''));
  });

  await check('the outbox is listed, replayed and switched on as written', () => {
    assert(Array.isArray(JSON.parse(sh(command('curl http://127.0.0.1:9001/outbox/dead'))).dead), 'no list');
    assert(JSON.parse(sh(command(`curl -X POST -d '{"since": 0}'`))).replayed === 0, 'not replayed');
    assert(JSON.parse(sh(command('curl -X POST http://127.0.0.1:9001/outbox/on'))).success, 'not on');
  });

  await check('secrets are compared without printing either', () => {
    const one = sh(`WEBSOCKET_SECRET=${SECRET}; ${command('printf %s "$WEBSOCKET_SECRET"')}`);
    const kubectl = command('kubectl get secret').replace(/^.*?\|/, `printf %s ${SECRET} | base64 |`);
    assert(one === sh(kubectl) && /^[0-9a-f]{64} /.test(one), `${one} ${sh(kubectl)}`);
  });

  await check('two nodes show what has to be compared, and no password', () => {
    const { text } = run(join(root, 'target/debug/onlycare-signaling'), ['--print-config'], {
      env: { AUTH: 'insecure', REDIS_URL: 'redis://signaling:hush@10.0.0.5:6379', REDIS_PREFIX: 'x', NODE_SECRET: 'hush' },
      cwd: '/',
    });
    assert(/^REDIS_URL=.*10\.0\.0\.5:6379/m.test(text) && /^REDIS_PREFIX=x$/m.test(text) && !text.includes('hush'), text);
  });

  // What Redis does, the word that the runbook says the log has, and what brings it back.
  const troubles = [
    ['config set min-replicas-to-write 1', 'NOREPLICAS', command(`${ADMIN}config set`).replace(ADMIN, '')],
    ['replicaof 127.0.0.1 1', 'READONLY', 'replicaof no one'],
    ['acl setuser default -@all +acl', 'NOPERM', 'acl setuser default +@all'],
  ];
  for (const [wrong, word, right] of troubles) {
    await check(`StoreUnhealthy: ${word}`, async () => {
      assert(runbooks.includes(`\`${word}\``), 'not in the runbook');
      const since = node.program.lines.length;
      const said = () => node.program.lines.slice(since).map((line) => JSON.parse(line));
      redis(wrong);
      await node.program.until(() => said().some(({ level, error }) => level === 'WARN' && error?.includes(word)), `log ${word}`);
      redis(right);
      await node.program.until(() => said().some(({ message }) => message.startsWith('redis back after')), 'say that Redis is back');
      const warnings = said().filter(({ error }) => error?.includes(word));
      assert(warnings.length <= 2, warnings.map((line) => JSON.stringify(line)).join('\n'));
      await node.program.until(async () => (await fetch(`${node.admin}/lease`)).status === 200, 'renew its lease');
    });
  }
}
