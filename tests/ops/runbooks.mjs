// Runbooks: what they name exists (options, metrics, panels, routes, alerts), and what they say of a Redis in trouble, of the
// outbox and of secrets is walked on real nodes, word for word.
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster, Program, SECRET, folder } from '../node/cluster.mjs';
import { assert, check, finish, root, run, skip, tool, yaml } from './tools.mjs';

const read = (path) => readFileSync(join(root, path), 'utf8');
const runbooks = read('docs/operations.md').split('\n# Runbooks\n')[1];
const lines = [...read('docs/operations.md').matchAll(/```sh\n([^]*?)```/g)].flatMap(([, block]) => block.trim().split('\n'));
const codes = [...runbooks.replace(/```[^]*?```/g, '').replaceAll('\n', ' ').matchAll(/`([^`]+)`/g)].map(([, code]) => code);
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

if (tool('helm')) {
  await check('what kubectl is told to look at is in the chart, or made as its README says', () => {
    const { ok, stdout, text } = run(tool('helm'), ['template', 'signaling', join(root, 'helm'), '-f', join(root, 'helm/ci/default-values.yaml')]);
    assert(ok, text);
    const known = yaml(stdout).map(({ kind, metadata }) => `${kind.toLowerCase()}/${metadata.name}`);
    const [, secret] = /kubectl create secret generic (\S+)/.exec(read('helm/README.md'));
    known.push(`secret/${secret}`);
    const names = [...codes, ...lines].filter((code) => code.startsWith('kubectl')).flatMap((code) => [
      ...[...code.matchAll(/\b(pod|deployment|service|statefulset)\/(\S+)/g)].map(([, kind, name]) => `${kind}/${name}`),
      ...[...code.matchAll(/\bget (secret|deployment|service) (\S+)/g)].map(([, kind, name]) => `${kind}/${name}`),
    ]);
    // A pod has another name with every start.
    const wrong = names.filter((name) => name !== 'pod/…' && !known.includes(name));
    assert(names.length > 4 && !wrong.length, `${wrong} of ${names}`);
  });
} else skip('names in the chart', 'helm is not there');

// As `install.sh` lays a host out; `node` answers there.
async function host(node) {
  const place = join(folder, 'host');
  const install = () => run(join(root, 'deploy/systemd/install.sh'), [join(root, 'target/debug/onlycare-signaling')], { env: { PATH: process.env.PATH, DESTDIR: place } });
  install();
  const [admin, etc] = [new URL(node.admin), join(place, 'etc/onlycare-signaling')];
  writeFileSync(join(etc, '.env'), `LARAVEL_API_URL=https://laravel.test\nLARAVEL_API_SECRET="${SECRET}"\nHOST=${admin.hostname}\nADMIN_PORT=${admin.port}\n`);
  const { ok, text } = install();
  assert(ok, text);
  return (line) => run('sh', ['-c', line.replaceAll('/etc/onlycare-signaling', etc)], { env: { PATH: `${join(place, 'usr/local/bin')}:/usr/bin:/bin` } });
}

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

  const inspected = await cluster.another('inspected', { INSPECTOR: 'on' });
  const onHost = await host(inspected);
  await check('commands on a host work where install.sh put the binary', () => {
    const commands = [...codes, ...lines].filter((code) => /(^|&& )onlycare-signaling /.test(code));
    assert(commands.length > 1, `${commands}`);
    for (const command of commands) {
      const { ok, text } = onHost(command);
      assert(command.includes(' call ') ? text.includes('no such call') : ok && text.includes('LARAVEL_API_URL='), `${command}: ${text}`);
    }
  });

  await check('secrets are compared without printing either', async () => {
    const line = (start) => lines.find((text) => text.startsWith(start)) ?? assert(false, `no runbook says ${start}`);
    const hash = createHash('sha256').update(SECRET).digest('hex');
    const stored = Buffer.from(`${SECRET},of-yesterday-as-long-as-this`).toString('base64');
    const here = sh(line('kubectl get secret').replace(/^.*?\|/, `printf %s ${stored} |`));
    assert(here.startsWith(`${hash} `), here);
    const { text } = onHost(line("sed -n 's/^LARAVEL_API_SECRET"));
    assert(text.startsWith(`${hash} `), text);
    if (!tool('php') || !tool('composer')) return skip('Laravel\'s secret', 'php or composer is not there');
    // A shell that knows nothing of .env, in a backend like the deployed one.
    const backend = join(folder, 'backend');
    cpSync(join(root, 'laravel/tests/Deployed'), backend, { recursive: true });
    for (const name of ['storage/framework', 'storage/cache', 'storage/logs', 'bootstrap/cache']) mkdirSync(join(backend, name), { recursive: true });
    writeFileSync(join(backend, '.env'), `APP_KEY=base64:${Buffer.alloc(32, 'k').toString('base64')}\nWEBSOCKET_SECRET="${SECRET}"\n`);
    const env = { PATH: process.env.PATH, HOME: backend, COMPOSER_ALLOW_SUPERUSER: '1' };
    const made = run('composer', ['dump-autoload', '--quiet'], { cwd: backend, env });
    assert(made.ok, made.text);
    const theirs = run('sh', ['-c', line('php -r')], { cwd: backend, env });
    assert(theirs.ok && theirs.stdout.trim() === hash, theirs.text);
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
