// What is shipped for a Debian host: the scripts, the unit, an installation and its rollback in a folder and on a machine of its
// own (a mount namespace with its own /etc and /opt), and the switch from a stand-in for the deployed server and back, both
// with a stand-in for systemctl.
import { spawn } from 'node:child_process';
import {
  chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { assert, check, finish, root, run, runBeside, skip, tool } from './tools.mjs';

const binary = resolve(process.env.SIGNALING_BIN ?? join(root, 'target/debug/onlycare-signaling'));
const systemd = join(root, 'deploy/systemd');
const work = mkdtempSync(join(tmpdir(), 'host-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

const scripts = ['deploy/systemd/install.sh', 'deploy/systemd/switch.sh', 'deploy/nginx/session-routes', 'scripts/setup'];
if (tool('shellcheck')) {
  for (const script of scripts) {
    await check(`shellcheck ${script}`, () => {
      const { ok, text } = run(tool('shellcheck'), [join(root, script)]);
      assert(ok, text);
    });
  }
} else skip('shellcheck', 'it is not there');

if (tool('systemd-analyze')) {
  await check('unit', () => {
    // As it is, but with a binary that is here.
    const unit = readFileSync(join(systemd, 'onlycare-signaling.service'), 'utf8');
    const file = join(work, 'onlycare-signaling.service');
    writeFileSync(file, unit.replaceAll('/opt/onlycare-signaling/current/onlycare-signaling', binary));
    const { text } = run('systemd-analyze', ['verify', file]);
    assert(!text.includes('onlycare-signaling'), text);
    const security = run('systemd-analyze', ['security', '--offline=true', file]);
    const exposure = Number(/exposure level for \S+ ([\d.]+)/.exec(security.text)?.[1]);
    assert(exposure < 2, `exposure ${exposure}`);
  });
} else skip('unit', 'systemd-analyze is not there');

await check('the unit waits longer than the drain lasts', () => {
  const unit = readFileSync(join(systemd, 'onlycare-signaling.service'), 'utf8');
  const table = readFileSync(join(root, 'docs/configuration.md'), 'utf8');
  const preset = (name) => Number(new RegExp(`^\\| \`${name}\` \\| \`(\\d+)\``, 'm').exec(table)[1]);
  const stop = Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)[1]);
  assert(stop >= preset('DRAIN_DELAY_SECS') + preset('DRAIN_SECS') + 15, `${stop} s`);
});

await check('install, upgrade, rollback', () => {
  const host = join(work, 'host');
  const install = (...arguments_) => run(join(systemd, 'install.sh'), arguments_, { env: { PATH: process.env.PATH, DESTDIR: host } });
  const current = () => readlinkSync(join(host, 'opt/onlycare-signaling/current'));
  const first = install(binary);
  assert(!first.ok && first.text.includes('fill in'), `an empty .env is not noticed: ${first.text}`);
  writeFileSync(join(host, 'etc/onlycare-signaling/.env'), 'LARAVEL_API_URL=https://laravel.test\nLARAVEL_API_SECRET=s\n');
  assert(install(binary).ok, 'install');
  assert((statSync(join(host, 'opt/onlycare-signaling/current/onlycare-signaling')).mode & 0o777) === 0o755, 'mode');
  const [one, newer] = [current(), join(work, 'newer')];
  // Another binary with the same words.
  writeFileSync(newer, `#!/bin/sh\nexec ${binary} "$@"\n`);
  chmodSync(newer, 0o755);
  assert(install(newer).ok && current() !== one, 'upgrade');
  const two = current();
  assert(install('--rollback').ok && current() === one, 'rollback');
  assert(install('--rollback').ok && current() === two, 'and forth again');
  const [file, longer] = ['etc/onlycare-signaling/.env', 'etc/systemd/system/onlycare-signaling.service.d/drain.conf'].map((path) => join(host, path));
  const env = readFileSync(file, 'utf8');
  assert(env.includes('laravel.test'), 'the configuration was overwritten');
  assert(!existsSync(longer), 'a preset drain needs no more than the unit gives');
  writeFileSync(file, `${env}DRAIN_DELAY_SECS=10\nDRAIN_SECS=120\n`);
  assert(install(newer).ok && existsSync(longer) && readFileSync(longer, 'utf8') === '[Service]\nTimeoutStopSec=145\n', 'systemd kills a node in its drain');
  writeFileSync(file, env);
  assert(install(newer).ok && !existsSync(longer), 'the wait for a drain of yesterday is left');
  assert(readdirSync(join(host, 'opt/onlycare-signaling')).length === 4, 'two releases and two links');
});

if (run('unshare', ['-m', 'true']).ok) {
  const machine = join(work, 'machine');
  const [bin, etc, opt, local, pid] = ['bin', 'etc', 'opt', 'local', 'pid'].map((name) => join(machine, name));
  for (const folder of [machine, bin, opt, local]) mkdirSync(folder);
  const mounts = `mount --bind ${etc} /etc && mount --bind ${opt} /opt && mount --bind ${local} /usr/local/bin`;
  run('cp', ['-a', '/etc', etc]);
  const stand = (path, text) => {
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, 0o755);
    return path;
  };
  stand(join(bin, 'systemctl'), `echo "$@" >>${machine}/systemctl
case $1 in
  restart)
    echo restart >>${machine}/restarts
    old=$(cat ${pid} 2>/dev/null) && kill $old 2>/dev/null && while kill -0 $old 2>/dev/null; do sleep 0.05; done
    [ ! -e ${machine}/refused ] || { echo "Job for $2.service failed" >&2; exit 1; }
    cd /etc/onlycare-signaling && env -i PATH=/usr/bin:/bin /opt/onlycare-signaling/current/onlycare-signaling >/dev/null 2>&1 &
    echo $! >${pid} ;;
  is-active) kill -0 "$(cat ${pid})" 2>/dev/null ;;
esac`);
  stand(join(bin, 'runuser'), `echo "$@" >>${machine}/runuser; shift 3; exec "$@"`);
  // As a machine may have it: one limit far above the wanted one, one below, a range that is shifted.
  stand(join(bin, 'sysctl'), `[ "$1" = -n ] || { for last; do :; done; cp "$last" ${machine}/applied; exit 0; }
case $2 in fs.file-max) echo 9223372036854775807 ;; net.core.somaxconn) echo 128 ;; net.ipv4.ip_local_port_range) echo "1024	60999" ;; net.ipv4.tcp_tw_reuse) echo 2 ;; *) exit 255 ;; esac`);
  // What ends at once is not waited for as long as what has to start.
  const install = (...arguments_) => installFor(arguments_[0].includes('dead') ? '1' : '20', ...arguments_);
  const installFor = (seconds, ...arguments_) => run('unshare', ['-m', 'sh', '-c', `${mounts} && exec ${join(systemd, 'install.sh')} "$@"`, 'sh', ...arguments_], {
    env: { PATH: `${bin}:${process.env.PATH}`, READY_SECONDS: seconds },
  });
  const current = () => readlinkSync(join(opt, 'onlycare-signaling/current'));
  const restarts = () => (existsSync(join(machine, 'restarts')) ? readFileSync(join(machine, 'restarts'), 'utf8').split('\n').length - 1 : 0);
  const other = (name, text) => stand(join(machine, name), text);
  const admin = await freePort();
  await check('a host: the configuration is asked for before anything is switched', () => {
    const { ok, text } = install(binary);
    assert(!ok && text.includes('nothing was switched'), text);
    assert(!existsSync(join(opt, 'onlycare-signaling/current')) && restarts() === 0, 'it was switched');
  });
  await check('a host: ready at the address and port of its file', () => {
    writeFileSync(join(etc, 'onlycare-signaling/.env'), `export LARAVEL_API_URL="http://127.0.0.1:1"\nLARAVEL_API_SECRET=s\nHOST=127.0.0.2\nPORT=0\nADMIN_PORT=${admin}\nDRAIN_DELAY_SECS=0\nDRAIN_SECS=0\n`);
    const { ok, text } = install(binary);
    assert(ok && text.includes('ready'), text);
    assert(text.includes('warning: REDIS_URL is not set'), `what it warns of is not shown: ${text}`);
    asTheService(join(machine, 'runuser'), ['--check-config', '--print-config']);
  });
  await check('a host: a name that is nearly an option changes nothing', () => {
    const file = join(etc, 'onlycare-signaling/.env');
    const good = readFileSync(file, 'utf8');
    const [before, times] = [current(), restarts()];
    writeFileSync(file, `${good}TRUSTED_PROXY=10.0.0.0/8\n`);
    const { ok, text } = install(binary);
    writeFileSync(file, good);
    assert(!ok && text.includes('did you mean TRUSTED_PROXIES?') && text.includes('nothing was switched'), text);
    assert(current() === before && restarts() === times, 'it was switched');
  });
  await check('a host: kernel limits are raised and never lowered', () => {
    const text = readFileSync(join(machine, 'applied'), 'utf8');
    assert(text === readFileSync(join(etc, 'sysctl.d/60-onlycare-signaling.conf'), 'utf8'), 'another file');
    assert(!/^fs.file-max/m.test(text), `fs.file-max is lowered: ${text}`);
    for (const line of ['net.core.somaxconn = 8192', 'net.ipv4.ip_local_port_range = 1024 65535', 'net.ipv4.tcp_tw_reuse = 1']) assert(text.includes(line), `${line}: ${text}`);
  });
  await check('a host: a binary that refuses the configuration changes nothing', () => {
    const [before, times] = [current(), restarts()];
    const picky = other('picky', `case $1 in --version) echo onlycare-signaling 9.9.9 ;; --check-config) echo "REDIS_URL is needed now" >&2; exit 1 ;; *) exec ${binary} "$@" ;; esac`);
    const { ok, text } = install(picky);
    assert(!ok && text.includes('REDIS_URL is needed now') && text.includes('nothing was switched'), text);
    assert(current() === before && restarts() === times, 'it was switched');
  });
  await check('a host: however many failed, the last one that served is kept and found', () => {
    const good = current();
    for (const version of ['8.0.1', '8.0.2', '8.0.3']) {
      const dead = other(`dead-${version}`, `case $1 in --version) echo onlycare-signaling ${version} ;; --*) exec ${binary} "$@" ;; *) exit 1 ;; esac`);
      const { ok, text } = install(dead);
      assert(!ok && text.includes('--rollback'), text);
      assert(current().startsWith(version), current());
    }
    const { ok, text } = install('--rollback');
    assert(ok && text.includes('ready') && current() === good, text);
    const again = install('--rollback');
    assert(!again.ok && again.text.includes('no binary before'), `back to one that never served: ${again.text}`);
  });
  await check('a host: what systemd does not start leads back', () => {
    const good = current();
    writeFileSync(join(machine, 'refused'), '');
    const { ok, text } = install(other('barred', `case $1 in --version) echo onlycare-signaling 8.0.4 ;; *) exec ${binary} "$@" ;; esac`));
    rmSync(join(machine, 'refused'));
    assert(!ok && current().startsWith('8.0.4') && text.includes('journalctl') && text.includes('--rollback'), text);
    const back = install('--rollback');
    assert(back.ok && back.text.includes('ready') && current() === good, back.text);
  });
  await check('a host: one that became ready after it was given up is kept', async () => {
    const slow = other('slow', `case $1 in --version) echo onlycare-signaling 8.1.0 ;; --*) exec ${binary} "$@" ;; *) sleep 4; exec ${binary} "$@" ;; esac`);
    const given = installFor('1', slow);
    assert(!given.ok && given.text.includes('not ready after 1 s'), given.text);
    for (let turn = 0; !(await fetch(`http://127.0.0.2:${admin}/ready`).then(({ ok }) => ok, () => false)); turn += 1) {
      assert(turn < 150, 'it does not become ready');
      await new Promise((done) => setTimeout(done, 100));
    }
    const { ok, text } = install(other('next', `case $1 in --version) echo onlycare-signaling 8.2.0 ;; *) exec ${binary} "$@" ;; esac`));
    assert(ok, text);
    const previous = readlinkSync(join(opt, 'onlycare-signaling/previous'));
    assert(previous.startsWith('8.1.0') && existsSync(join(opt, 'onlycare-signaling', previous)), `back goes to ${previous}`);
  });
  await check('a host: without certificates nothing could be asked of Laravel', () => {
    renameSync(join(etc, 'ssl'), join(etc, 'ssl-away'));
    const { ok, text } = install(binary);
    assert(!ok && text.includes('apt-get install ca-certificates'), text);
  });
  try {
    process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL');
  } catch { /* it is gone already */ }
  await check('a host: the day of the switch is prepared as docs/switch.md says', async () => {
    for (const folder of [etc, opt]) rmSync(folder, { recursive: true });
    run('cp', ['-a', '/etc', etc]);
    mkdirSync(opt);
    for (const file of [pid, join(machine, 'systemctl')]) rmSync(file, { force: true });
    const [laravel, held, now] = [await unauthenticated(), createServer(), join(machine, 'tree')];
    await new Promise((done) => held.listen(0, '127.0.0.1', done));
    // The tree, the deployed server and Laravel, where the guide has them.
    mkdirSync(join(now, 'target/release'), { recursive: true });
    symlinkSync(join(root, 'deploy'), join(now, 'deploy'));
    symlinkSync(binary, join(now, 'target/release/onlycare-signaling'));
    writeFileSync(join(now, '.env'), `PORT=${held.address().port}\nHOST=127.0.0.1\nLARAVEL_API_URL=http://127.0.0.1:${laravel.address().port}/api/v1\nLARAVEL_API_SECRET=hush\nALLOWED_ORIGINS=*\n`);
    writeFileSync(join(now, 'laravel.env'), 'WEBSOCKET_SECRET=hush\n');
    const guide = readFileSync(join(root, 'docs/switch.md'), 'utf8').split('## The switch')[0];
    const blocks = [...guide.matchAll(/```sh\n([^]*?)```/g)].map(([, lines]) => lines.replace(/^ {3}/gm, ''));
    const commands = [...blocks, `${/`(deploy\/systemd\/switch\.sh check)`/.exec(guide)[1]}\n`].join('').replace('/var/www/socket-server', now).replace('/var/www/app/.env', join(now, 'laravel.env'));
    const { ok, text } = await runBeside('unshare', ['-m', 'sh', '-c', `${mounts} && cd ${now} && set -e\n${commands}`], {
      env: { PATH: `${bin}:${process.env.PATH}`, REHEARSAL_PORT: String(await freePort()) },
    });
    for (const server of [laravel, held]) server.close();
    laravel.closeAllConnections();
    assert(ok && text.includes('ready to go'), text);
    const asked = readFileSync(join(machine, 'systemctl'), 'utf8');
    assert(!/\b(start|restart|enable)\b/.test(asked), `the service was touched: ${asked}`);
    assert(existsSync(join(etc, 'systemd/system/onlycare-signaling.service')), 'no unit');
  });
  await check('a host: what runs is not laid out again without a start', () => {
    stand(join(bin, 'systemctl'), 'exit 0');
    const { ok, text } = install('--no-start', binary);
    assert(!ok && text.includes('runs already'), text);
  });
} else skip('a host of its own', 'no mount namespace can be made here');

await check('switch, refused and carried out, and back', async () => {
  const laravel = await unauthenticated();
  const [port, admin, rehearsal] = [await freePort(), await freePort(), await freePort()];
  const [etc, bin] = [join(work, 'etc'), join(work, 'bin')];
  mkdirSync(etc);
  mkdirSync(bin);
  const start = `sh -c 'echo $$ >${work}/old.pid; exec node -e "require(\\"http\\").createServer((q,s)=>s.end(\\"old\\")).listen(${port},\\"127.0.0.1\\")" >/dev/null 2>&1' &`;
  writeFileSync(join(work, 'old-start'), `#!/bin/sh\n${start}\n`);
  writeFileSync(join(work, 'old-stop'), `#!/bin/sh\nkill "$(cat ${work}/old.pid)"\nwhile kill -0 "$(cat ${work}/old.pid)" 2>/dev/null; do sleep 0.05; done\n`);
  writeFileSync(join(bin, 'systemctl'), `#!/bin/sh
case $1 in
  start) cd ${etc} && PATH=/usr/bin:/bin ${binary} >/dev/null 2>&1 & echo $! >${work}/new.pid ;;
  kill) kill "$(cat ${work}/new.pid)" 2>/dev/null ;;
  stop) while kill -0 "$(cat ${work}/new.pid)" 2>/dev/null; do sleep 0.1; done ;;
esac
`);
  writeFileSync(join(bin, 'runuser'), `#!/bin/sh\necho "$@" >>${work}/runuser\nshift 3\nexec "$@"\n`);
  for (const file of [join(work, 'old-start'), join(work, 'old-stop'), join(bin, 'systemctl'), join(bin, 'runuser')]) chmodSync(file, 0o755);
  // As the deployed server reads it, with its quotes.
  const env = (url) => `# deployed\nPORT=${port}\nexport LARAVEL_API_URL="${url}/api/v1/"\nLARAVEL_API_SECRET='hush'\nADMIN_PORT=${admin}\nHOST=127.0.0.1\n`;
  const url = `http://127.0.0.1:${laravel.address().port}`;
  writeFileSync(join(etc, '.env'), env(url));
  writeFileSync(join(work, 'laravel.env'), 'WEBSOCKET_SECRET=unlike-it\n');
  writeFileSync(join(etc, 'switch.conf'), `OLD_STOP=${work}/old-stop\nOLD_START=${work}/old-start\nLARAVEL_ENV=${work}/laravel.env\n`);
  const variables = { PATH: `${bin}:${process.env.PATH}`, ETC: etc, BINARY: binary, REHEARSAL_PORT: String(rehearsal) };
  // Not run(): Laravel's stand-in lives in this process and has to answer meanwhile.
  const doSwitch = (what) => new Promise((done) => {
    const child = spawn(join(systemd, 'switch.sh'), [what], { env: variables, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += data));
    child.on('exit', (code) => done({ ok: code === 0, text }));
  });
  const who = async () => (await fetch(`http://127.0.0.1:${port}/health`)).text();
  const until = async (wanted) => {
    for (let i = 0; i < 50; i += 1) {
      if ((await who().catch(() => '')).includes(wanted)) return;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error(`${wanted} does not answer`);
  };
  try {
    run(join(work, 'old-start'), [], { stdio: 'ignore' });
    await until('old');
    // Nothing but a .env: what is missing is said, not stumbled over.
    renameSync(join(etc, 'switch.conf'), join(etc, 'switch.conf.away'));
    for (const what of ['check', 'go', 'back']) {
      const blind = await doSwitch(what);
      assert(!blind.ok && blind.text.includes('switch.conf'), `${what}: ${blind.text}`);
    }
    renameSync(join(etc, 'switch.conf.away'), join(etc, 'switch.conf'));
    await until('old');
    const refused = await doSwitch('go');
    assert(!refused.ok && refused.text.includes('differs from LARAVEL_API_SECRET'), refused.text);
    assert(!refused.text.includes('hush') && !refused.text.includes('unlike-it'), 'a secret is printed');
    await until('old');
    writeFileSync(join(work, 'laravel.env'), 'WEBSOCKET_SECRET="hush"\n');
    // What the unit refuses is refused before anything stops.
    writeFileSync(join(etc, '.env'), `${env(url)}AUTH=insecure\n`);
    const open = await doSwitch('go');
    assert(!open.ok && open.text.includes('AUTH is insecure') && open.text.includes('nothing was changed'), open.text);
    await until('old');
    writeFileSync(join(etc, '.env'), env('http://127.0.0.1:1'));
    const lost = await doSwitch('check');
    assert(!lost.ok && lost.text.includes('Laravel does not answer'), lost.text);
    // The node takes the framework's own words as well.
    const plain = await unauthenticated('{"message":"Unauthenticated."}');
    writeFileSync(join(etc, '.env'), env(`http://127.0.0.1:${plain.address().port}`));
    const framework = await doSwitch('check');
    plain.close();
    plain.closeAllConnections();
    assert(framework.ok && framework.text.includes('ready to go'), framework.text);
    writeFileSync(join(etc, '.env'), env(url));
    // A secret in a file of its own here, and with a comment behind it there.
    writeFileSync(join(work, 'secret'), 'hush\n');
    writeFileSync(join(etc, '.env'), env(url).replace("LARAVEL_API_SECRET='hush'", `LARAVEL_API_SECRET_FILE=${work}/secret`));
    writeFileSync(join(work, 'laravel.env'), 'WEBSOCKET_SECRET=hush # the same as over there\n');
    const filed = await doSwitch('check');
    assert(filed.ok && filed.text.includes('secrets of both sides are equal'), filed.text);
    writeFileSync(join(etc, '.env'), env(url));
    const checked = await doSwitch('check');
    assert(checked.ok && checked.text.includes('ready to go'), checked.text);
    if (tool('redis-server')) {
      const redis = await shippedRedis();
      writeFileSync(join(etc, '.env'), `${env(url)}REDIS_URL=redis://signaling:CHANGE-ME@127.0.0.1:${redis.port}\n`);
      const stored = await doSwitch('check');
      redis.stop();
      assert(stored.ok && stored.text.includes('it starts and is ready'), `the rehearsal at the shipped Redis: ${stored.text}`);
      writeFileSync(join(etc, '.env'), env(url));
    } else skip('the rehearsal at a Redis', 'redis-server is not there');
    if (process.getuid() === 0) asTheService(join(work, 'runuser'), ['--check-config', '--print-config', 'PORT=0']);
    await until('old');
    const gone = await doSwitch('go');
    assert(gone.ok && gone.text.includes('switched'), gone.text);
    await until('"status":"OK"');
    const back = await doSwitch('back');
    assert(back.ok, back.text);
    await until('old');
  } finally {
    for (const name of ['old', 'new']) {
      try {
        process.kill(Number(readFileSync(join(work, `${name}.pid`), 'utf8')), 'SIGKILL');
      } catch { /* it is gone already */ }
    }
    laravel.close();
    laravel.closeAllConnections();
  }
});

finish('host');

/** Laravel, as it answers who has no token. */
async function unauthenticated(words = '{"success":false,"error":{"code":"UNAUTHENTICATED"}}') {
  const server = createServer((request, response) => {
    response.writeHead(401, { 'Content-Type': 'application/json' }).end(words);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

/** All that the node was asked it was asked with the rights and in the environment of the unit. */
function asTheService(record, wanted) {
  const lines = existsSync(record) ? readFileSync(record, 'utf8').trim().split('\n') : [];
  for (const word of wanted) assert(lines.some((line) => line.includes(word)), `${word} was not asked as the service's user`);
  for (const line of lines) assert(/^-u onlycare-signaling -- env -i PATH=\S+ NODE_ENV=production /.test(line), line);
}

/** With the users of deploy/redis. */
async function shippedRedis() {
  const [port, users] = [await freePort(), join(work, 'users.acl')];
  writeFileSync(users, readFileSync(join(root, 'deploy/redis/users.acl')));
  const server = spawn(tool('redis-server'), ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', work, '--aclfile', users], { stdio: 'ignore' });
  process.on('exit', () => server.kill('SIGKILL'));
  const answers = () => new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false));
    socket.unref();
    setTimeout(() => socket.destroy(), 1000).unref();
  });
  for (let turn = 0; !(await answers()); turn += 1) {
    assert(turn < 100, 'no Redis');
    await new Promise((done) => setTimeout(done, 50));
  }
  return { port, stop: () => server.kill('SIGKILL') };
}

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}
