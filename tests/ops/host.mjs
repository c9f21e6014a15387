// What is shipped for a Debian host: the scripts, the unit, an installation and its rollback in a folder, and the
// switch from a stand-in for the deployed server and back, with a stand-in for systemctl.
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { assert, check, finish, root, run, skip, tool } from './tools.mjs';

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

if (tool('hadolint')) {
  await check('hadolint', () => {
    const { ok, text } = run(tool('hadolint'), [join(root, 'Dockerfile')]);
    assert(ok, text);
  });
} else skip('hadolint', 'it is not there');

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
  const env = readFileSync(join(host, 'etc/onlycare-signaling/.env'), 'utf8');
  assert(env.includes('laravel.test'), 'the configuration was overwritten');
  assert(readdirSync(join(host, 'opt/onlycare-signaling')).length === 4, 'two releases and two links');
});

await check('switch, refused and carried out, and back', async () => {
  const laravel = createServer((request, response) => {
    response.writeHead(401, { 'Content-Type': 'application/json' }).end('{"success":false,"error":{"code":"UNAUTHENTICATED"}}');
  });
  await new Promise((done) => laravel.listen(0, '127.0.0.1', done));
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
  for (const file of [join(work, 'old-start'), join(work, 'old-stop'), join(bin, 'systemctl')]) chmodSync(file, 0o755);
  // As the deployed server reads it, with its quotes.
  const env = (url) => `# deployed\nPORT=${port}\nexport LARAVEL_API_URL="${url}/api/v1/"\nLARAVEL_API_SECRET='hush'\nADMIN_PORT=${admin}\nHOST=127.0.0.1\n`;
  const url = `http://127.0.0.1:${laravel.address().port}`;
  writeFileSync(join(etc, '.env'), env(url));
  writeFileSync(join(work, 'laravel.env'), 'WEBSOCKET_SECRET=another\n');
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
    const refused = await doSwitch('go');
    assert(!refused.ok && refused.text.includes('differs from LARAVEL_API_SECRET'), refused.text);
    assert(!refused.text.includes('hush') && !refused.text.includes('another'), 'a secret is printed');
    await until('old');
    writeFileSync(join(work, 'laravel.env'), 'WEBSOCKET_SECRET="hush"\n');
    writeFileSync(join(etc, '.env'), env('http://127.0.0.1:1'));
    const lost = await doSwitch('check');
    assert(!lost.ok && lost.text.includes('Laravel does not answer'), lost.text);
    writeFileSync(join(etc, '.env'), env(url));
    const checked = await doSwitch('check');
    assert(checked.ok && checked.text.includes('ready to go'), checked.text);
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

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}
