// The shipped Redis settings, nothing but passwords, ports and folders replaced: nodes call through the user of users.acl, who may
// do nothing else, and through a failover of the shipped Sentinel settings; the runbooks' lines are taken as written.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Program, answersPing, folder, freePort } from '../node/cluster.mjs';
import { call } from './phones.mjs';
import { assert, check, finish, root, run, tool } from './tools.mjs';

// Each user's own, so that none is let in with another's.
const passwordOf = (user) => `hush-${user}`;
const USERS = { 'CHANGE-ME-SENTINEL': 'sentinel', 'CHANGE-ME-REPLICA': 'replica', 'CHANGE-ME-ADMIN': 'admin', 'CHANGE-ME': 'signaling' };
const [primaryPort, replicaPort, sentinelPort] = [await freePort(), await freePort(), await freePort()];
const read = (file) => readFileSync(join(root, 'deploy/redis', file), 'utf8').replace(/CHANGE-ME(-[A-Z]+)?/g, (word) => passwordOf(USERS[word]));

let primary = await server('primary', primaryPort);
const cli = (port, ...words) => run(tool('redis-cli'), ['-p', String(port), ...words]).stdout.trim();
const as = (user, port, ...words) => cli(port, '--user', user, '-a', passwordOf(user), '--no-auth-warning', ...words);

await check('shipped settings are in force', () => {
  for (const [name, value] of Object.entries({ 'maxmemory-policy': 'noeviction', appendonly: 'yes', maxmemory: '1073741824' })) {
    assert(as('admin', primaryPort, 'config', 'get', name).split('\n')[1] === value, name);
  }
});

await check('nodes call through the user of users.acl', async () => {
  const url = `redis://signaling:${passwordOf('signaling')}@127.0.0.1:${primaryPort}`;
  const cluster = await Cluster.start(['A', 'B'], { REDIS_URL: url, REDIS_PREFIX: 'signaling' });
  for (const ending of ['end', 'reject', 'cancel']) await call(cluster.nodes[0].url, cluster.nodes[1].url, 'websocket', ending);
  await cluster.nodes[0].get('/api/connected-users');
  const denied = cluster.nodes.flatMap(({ program }) => program.lines.filter((line) => /NOPERM|no permissions/i.test(line)));
  assert(!denied.length, denied[0]);
  const log = as('admin', primaryPort, 'acl', 'log');
  assert(!log.includes('signaling'), log);
  for (const { program } of cluster.nodes) program.kill();
});

await check('and he may do nothing else', () => {
  for (const words of [['set', 'other', '1'], ['publish', 'other', 'x'], ['flushall'], ['keys', '*'], ['config', 'get', '*'], ['acl', 'list']]) {
    assert(as('signaling', primaryPort, ...words).startsWith('NOPERM'), words.join(' '));
  }
  assert(cli(primaryPort, 'ping').startsWith('NOAUTH'), 'without a password');
});

await check('Sentinel and replicas have users of their own, who read and ring nothing', () => {
  for (const user of ['sentinel', 'replica']) {
    assert(as(user, primaryPort, 'ping') === 'PONG', `${user} is not let in`);
    for (const words of [['get', 'signaling:x'], ['publish', 'signaling:node:x', 'x'], ['config', 'get', '*'], ['eval', 'return 1', '0'], ['acl', 'list']]) {
      assert(as(user, primaryPort, ...words).startsWith('NOPERM'), `${user}: ${words.join(' ')}`);
    }
  }
});

await check('the runbooks\' lines for Redis', () => {
  const runbooks = readFileSync(join(root, 'docs/operations.md'), 'utf8').replaceAll('\n', ' ');
  const lines = [...runbooks.matchAll(/`(redis-cli [^`]+)`/g)].map(([, line]) => line);
  assert(lines.length > 3, `${lines}`);
  for (const line of lines) {
    const { ok, text } = run('sh', ['-c', line.replace('redis-cli', `redis-cli -p ${primaryPort}`)], { input: `${passwordOf('admin')}\n` });
    assert(ok && !/NOAUTH|NOPERM|WRONGPASS|ERR/.test(text), `${line}: ${text}`);
  }
});

// What a script writes is a transaction in the file, and Redis 7.0 plays it back as the user `default`.
await check('a restart loses nothing that a script wrote', async () => {
  as('signaling', primaryPort, 'eval', "redis.call('set', KEYS[1], 'kept'); redis.call('set', KEYS[2], 'kept')", '2', '{signaling:x}a', '{signaling:x}b');
  primary.kill();
  primary = start('primary');
  await primary.until(() => as('signaling', primaryPort, 'ping') === 'PONG', 'be back');
  assert(as('signaling', primaryPort, 'mget', '{signaling:x}a', '{signaling:x}b') === 'kept\nkept', 'it is gone');
});

await check('a failover within a ring', async () => {
  await server('replica', replicaPort, `replicaof 127.0.0.1 ${primaryPort}\n`);
  const work = join(folder, 'sentinel');
  mkdirSync(work);
  // One Sentinel, so one voice is enough.
  const settings = read('sentinel.conf')
    .replace('port 26379', `port ${sentinelPort}\nbind 127.0.0.1\ndir ${work}`)
    .replace('10.0.0.5 6379 2', `127.0.0.1 ${primaryPort} 1`);
  writeFileSync(join(work, 'sentinel.conf'), settings);
  const sentinel = new Program('sentinel', tool('redis-server'), [join(work, 'sentinel.conf'), '--sentinel']);
  await sentinel.until(() => cli(sentinelPort, 'sentinel', 'replicas', 'signaling').includes(String(replicaPort)), 'see the replica');
  await sentinel.until(() => as('signaling', replicaPort, 'get', '{signaling:x}a') === 'kept', 'have a replica that holds the same');
  const url = `redis-sentinel://signaling:${passwordOf('signaling')}@127.0.0.1:${sentinelPort}?sentinelServiceName=signaling`;
  const cluster = await Cluster.start(['C', 'D'], { REDIS_URL: url, REDIS_PREFIX: 'signaling' });
  await call(cluster.nodes[0].url, cluster.nodes[1].url, 'websocket');
  await delay(1000);
  primary.kill();
  const lost = Date.now();
  for (let ready = false; !ready && Date.now() - lost < 25_000; ) {
    ready = await call(cluster.nodes[0].url, cluster.nodes[1].url, 'websocket').then(() => true, () => false);
    if (!ready) await delay(200);
  }
  const took = (Date.now() - lost) / 1000;
  console.log(`redis: calls again ${took.toFixed(1)} s after the primary died`);
  assert(took < 20, `${took} s`);
  // The one that died comes back as a replica.
  const back = start('primary');
  // Sentinel takes some 15 s for it.
  const follows = () => /role:slave[^]*master_link_status:up/.test(as('admin', primaryPort, 'info', 'replication'));
  await back.until(follows, 'follow the new primary').catch(() => back.until(follows, 'follow the new primary'));
  // Its child writes into the folder that is about to be removed.
  await back.until(() => /aof_rewrite_in_progress:0[^]*aof_rewrite_scheduled:0/.test(as('admin', primaryPort, 'info', 'persistence')), 'have written its file');
  for (const { program } of cluster.nodes) program.kill();
});

finish('redis');

async function server(name, port, more = '') {
  const work = join(folder, name);
  mkdirSync(work);
  writeFileSync(join(work, 'users.acl'), read('users.acl'));
  writeFileSync(join(work, 'redis.conf'), `port ${port}\nbind 127.0.0.1\ndir ${work}\nloglevel warning\n${read('redis.conf').replace('/etc/redis/users.acl', join(work, 'users.acl'))}\n${more}`);
  const program = start(name);
  await program.until(() => answersPing(port, 'PING\r\n', '-NOAUTH'), 'answer').catch((error) => {
    throw new Error(`${error.message}\n${program.lines.join('\n')}`);
  });
  return program;
}

function start(name) {
  return new Program(name, tool('redis-server'), [join(folder, name, 'redis.conf')]);
}
