// The shipped Redis settings: nodes call through the user of users.acl, who may do nothing else, and through a failover
// of the shipped Sentinel settings.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Program, answersPing, folder, freePort } from '../node/cluster.mjs';
import { call } from './phones.mjs';
import { assert, check, finish, root, run, tool } from './tools.mjs';

const PASSWORD = 'hush-hush';
const [primaryPort, replicaPort, sentinelPort] = [await freePort(), await freePort(), await freePort()];
const read = (file) => readFileSync(join(root, 'deploy/redis', file), 'utf8').replaceAll('CHANGE-ME-TOO', PASSWORD).replaceAll('CHANGE-ME', PASSWORD);

const primary = await server('primary', primaryPort);
const cli = (port, ...words) => run(tool('redis-cli'), ['-p', String(port), ...words]).stdout.trim();
const asNode = (...words) => cli(primaryPort, '--user', 'signaling', '-a', PASSWORD, '--no-auth-warning', ...words);

await check('shipped settings are in force', () => {
  const admin = ['--user', 'admin', '-a', PASSWORD, '--no-auth-warning'];
  for (const [name, value] of Object.entries({ 'maxmemory-policy': 'noeviction', appendonly: 'yes', maxmemory: '1073741824' })) {
    assert(cli(primaryPort, ...admin, 'config', 'get', name).split('\n')[1] === value, name);
  }
});

await check('nodes call through the user of users.acl', async () => {
  const url = `redis://signaling:${PASSWORD}@127.0.0.1:${primaryPort}`;
  const cluster = await Cluster.start(['A', 'B'], { REDIS_URL: url, REDIS_PREFIX: 'signaling' });
  for (const ending of ['end', 'reject', 'cancel']) await call(cluster.nodes[0].url, cluster.nodes[1].url, 'websocket', ending);
  await cluster.nodes[0].get('/api/connected-users');
  const denied = cluster.nodes.flatMap(({ program }) => program.lines.filter((line) => /NOPERM|no permissions/i.test(line)));
  assert(!denied.length, denied[0]);
  const admin = ['--user', 'admin', '-a', PASSWORD, '--no-auth-warning'];
  const log = cli(primaryPort, ...admin, 'acl', 'log');
  assert(!log.includes('signaling'), log);
  for (const { program } of cluster.nodes) program.kill();
});

await check('and he may do nothing else', () => {
  for (const words of [['set', 'other', '1'], ['publish', 'other', 'x'], ['flushall'], ['keys', '*'], ['config', 'get', '*'], ['acl', 'list']]) {
    assert(asNode(...words).startsWith('NOPERM'), words.join(' '));
  }
  assert(cli(primaryPort, 'ping').startsWith('NOAUTH'), 'without a password');
});

await check('a failover within a ring', async () => {
  await server('replica', replicaPort, `replicaof 127.0.0.1 ${primaryPort}\nmasteruser admin\nmasterauth ${PASSWORD}\n`);
  const work = join(folder, 'sentinel');
  mkdirSync(work);
  // One Sentinel, so one voice is enough.
  const settings = read('sentinel.conf')
    .replace('port 26379', `port ${sentinelPort}\nbind 127.0.0.1\ndir ${work}`)
    .replace('10.0.0.5 6379 2', `127.0.0.1 ${primaryPort} 1`);
  writeFileSync(join(work, 'sentinel.conf'), settings);
  const sentinel = new Program('sentinel', tool('redis-server'), [join(work, 'sentinel.conf'), '--sentinel']);
  await sentinel.until(() => cli(sentinelPort, 'sentinel', 'replicas', 'signaling').includes(String(replicaPort)), 'see the replica');
  const url = `redis-sentinel://signaling:${PASSWORD}@127.0.0.1:${sentinelPort}?sentinelServiceName=signaling`;
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
  for (const { program } of cluster.nodes) program.kill();
});

finish('redis');

async function server(name, port, more = '') {
  const work = join(folder, name);
  mkdirSync(work);
  // Beside the nodes' user one for Sentinel and this test.
  writeFileSync(join(work, 'users.acl'), `${read('users.acl').trim()}\nuser admin on >${PASSWORD} ~* &* +@all\nuser sentinel on >${PASSWORD} ~* &* +@all\n`);
  writeFileSync(join(work, 'redis.conf'), `port ${port}\nbind 127.0.0.1\ndir ${work}\nloglevel warning\n${read('redis.conf').replace('/etc/redis/users.acl', join(work, 'users.acl'))}\n${more}`);
  const program = new Program(name, tool('redis-server'), [join(work, 'redis.conf')]);
  await program.until(() => answersPing(port, 'PING\r\n', '-NOAUTH'), 'answer').catch((error) => {
    throw new Error(`${error.message}\n${program.lines.join('\n')}`);
  });
  return program;
}
