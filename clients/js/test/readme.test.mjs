// The blocks of README.md are run as they stand, and every example compiles.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { Call, Phone } from '../dist/index.js';
import { Cluster, Program, closePhones, phoneAt, reaches, ready, until } from './stage.mjs';

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const readme = readFileSync(here('README.md'), 'utf8');
const blocks = (language, text = readme) => [...text.matchAll(new RegExp('```' + language + '\\n(.*?)```', 'gs'))].map(([, block]) => block);
/** Another project, with the package as `npm install <folder>` puts it there. */
const EXAMPLES = mkdtempSync(join(tmpdir(), 'signaling-client-'));

let node;
before(async () => {
  mkdirSync(join(EXAMPLES, 'node_modules/@onlycare'), { recursive: true });
  symlinkSync(here('.'), join(EXAMPLES, 'node_modules/@onlycare/signaling-client'));
  writeFileSync(join(EXAMPLES, 'package.json'), '{"type":"module"}');
  [node] = (await Cluster.start(['A'])).nodes;
});
after(() => {
  closePhones();
  for (const program of Program.all) program.kill();
  rmSync(EXAMPLES, { recursive: true });
});

/** Runs a program to its end and gives what it printed. */
async function run(args, env = {}) {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, cwd: here('.') });
  let output = '';
  child.stdout.on('data', (data) => { output += data; });
  child.stderr.on('data', (data) => { output += data; });
  const code = await new Promise((done) => child.on('exit', done));
  assert.equal(code, 0, output);
  return output;
}

test('the program of the README has two phones calling', async () => {
  const [program] = blocks('js');
  assert.ok(program.startsWith('// two-phones.mjs\n'));
  writeFileSync(`${EXAMPLES}/two-phones.mjs`, program);
  const lines = (await run([`${EXAMPLES}/two-phones.mjs`], { SIGNALING_URL: node.url })).trim().split('\n');
  const ana = lines.filter((line) => line.startsWith('ana: '));
  assert.deepEqual([ana[0], ...ana.slice(-2)], ['ana: calling', 'ana: active', 'ana: ended, hung_up']);
  assert.ok(lines.includes('bo: USR_1001 calls, VIDEO'), lines.join('\n'));
});

test('the page of the README has two phones calling', async () => {
  const types = { '.html': 'text/html', '.js': 'text/javascript' };
  const [page] = blocks('html');
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://here').pathname;
    if (path === '/favicon.ico') return response.writeHead(204).end();
    response.writeHead(200, { 'content-type': types[extname(path)] });
    response.end(path === '/page.html' ? page : readFileSync(here(`.${path}`)));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { chromium } = createRequire(here('../../web/test/from-here.js'))('playwright-core');
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
  try {
    const tab = await browser.newPage();
    const complaints = [];
    tab.on('pageerror', (error) => complaints.push(error.message));
    await tab.goto(`http://127.0.0.1:${server.address().port}/page.html?server=${encodeURIComponent(node.url)}`);
    const shows = (who) => tab.locator(`#${who} output`).textContent();
    await until(async () => (await node.get('/health')).body.connectedUsers >= 2, 'both are connected');
    await tab.click('#ana button');
    await until(async () => (await shows('bo')) === 'ringing', 'it rings');
    await tab.click('#bo button');
    await until(async () => (await shows('ana')) === 'active' && (await shows('bo')) === 'active', 'both talk');
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
    server.close();
  }
});

/** Runs a block whose declared constants are what the app has, and gives what it exports. */
async function play(name, block, more = '') {
  const { outputText } = ts.transpileModule(block + more, { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } });
  writeFileSync(`${EXAMPLES}/${name}.mjs`, outputText);
  return import(`${EXAMPLES}/${name}.mjs`);
}

test('the blocks about an app run: a ring, a talk, a push, and no login', async () => {
  const [app, screenOfACall, ...others] = blocks('ts');
  assert.equal(others.length, 0, 'a block that nobody runs');
  const shown = [];
  const rang = [];
  let [pushed, hangUp, token] = [undefined, undefined, 'token-of-USR_app'];
  Object.assign(globalThis, {
    session: { url: node.url, userId: 'USR_app', freshToken: async () => token },
    installationId: 'installation-1',
    screens: { ring: (call) => rang.push(call), login: () => shown.push('login'), offline: (away) => shown.push(away ? 'away' : 'there') },
    push: { onMessage: (handler) => { pushed = handler; } },
    screen: {
      show: (text) => shown.push(text), close: () => shown.push('closed'), joinMedia: (...media) => shown.push(media.join(' ')),
      onHangUp: (handler) => { hangUp = handler; },
    },
  });
  const { talk } = await play('talk', screenOfACall);
  const { phone } = await play('app', app, '\nexport { phone };');
  try {
    const caller = phoneAt(node.url);
    await ready(caller);
    await until(() => phone.link.status === 'ready' && shown.includes('there'), 'the app is connected');
    const call = caller.call('USR_app', 'VIDEO', { channelName: 'channel-1', agoraToken: '006a' });
    const there = await until(() => rang.shift(), 'it rings');
    talk(there);
    await there.answer();
    await until(() => shown.includes('channel-1 006a'), () => `they talk: ${shown}`);
    hangUp();
    await reaches(call, 'ended', 'hung_up');
    await until(() => shown.at(-1) === 'closed', () => `the screen is closed: ${shown}`);
    assert.ok(shown.includes('Connecting'), `${shown}`);

    pushed({ type: 'incoming_call', callId: 'CALL_pushed', callerId: caller.userId });
    assert.equal((await until(() => rang.shift(), 'the push rings')).id, 'CALL_pushed');
    phone.close();
    token = undefined;
    phone.connect();
    await until(() => shown.at(-1) === 'login', () => `the login is shown: ${shown}`);
  } finally {
    phone.close();
  }
});

test('every example compiles', async () => {
  const examples = blocks('ts');
  for (const file of readdirSync(here('src'))) {
    const comments = readFileSync(here(`src/${file}`), 'utf8').replace(/^ *\* ?/gm, '');
    examples.push(...blocks('ts', comments));
  }
  assert.ok(examples.length >= 15, `${examples.length} examples`);
  for (const [at, example] of examples.entries()) writeFileSync(`${EXAMPLES}/example${at}.ts`, `${example}\nexport {};\n`);
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2020', '--lib', 'es2020,dom', '--skipLibCheck'];
  const tsc = here('node_modules/typescript/bin/tsc');
  await run([tsc, ...options, ...examples.map((_, at) => `${EXAMPLES}/example${at}.ts`)]);
});

test('what is public has a docstring', () => {
  const names = [];
  for (const file of ['phone.ts', 'types.ts']) {
    const lines = readFileSync(here(`src/${file}`), 'utf8').split('\n');
    let inside = false;
    for (const [at, line] of lines.entries()) {
      if (/^export (class|interface)/.test(line)) inside = true;
      if (line === '}') inside = false;
      const member = inside && /^  (readonly |get )?[a-z]\w*(\?:|[(:])/.test(line) && !/^  constructor/.test(line);
      if (!member && !/^export (class|interface|type|function)/.test(line)) continue;
      names.push(line);
      assert.match(lines[at - 1], /\*\/$/, `${file}:${at + 1} has no docstring: ${line}`);
    }
  }
  assert.ok(names.length > 60, `${names.length} items`);
});

test('each word has an example', () => {
  const source = readFileSync(here('src/phone.ts'), 'utf8');
  for (const word of ['call', 'answer', 'decline', 'cancel', 'hangUp', 'askVideo', 'answerVideo', 'toAudio', 'send', 'watch', 'handlePush']) {
    const [before] = source.split(new RegExp(`^  ${word}\\(`, 'm'));
    assert.ok(before.length < source.length, word);
    assert.ok(before.slice(before.lastIndexOf('/**')).includes('```ts'), `${word} has no example`);
  }
});

test('the table of the README names every public member, and no other', () => {
  const table = readme.split('| word | result |')[1].split('\n\n')[0];
  const named = [...table.matchAll(/`((?:phone|call)\.[a-z]\w*)/gi)].map(([, member]) => member);
  const members = (object, of) => Object.getOwnPropertyNames(of.prototype)
    .filter((member) => member !== 'constructor' && !member.startsWith('_')).map((member) => `${object}.${member}`);
  const own = ['call.id', 'call.role', 'call.peer'];
  const all = [...members('phone', Phone), ...members('call', Call), ...own];
  assert.deepEqual([...new Set(named)].sort(), all.sort());
});

test('the package is what was built of src, the README and the licence', () => {
  const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: here('.'), encoding: 'utf8' }));
  const built = readdirSync(here('src')).flatMap((file) => ['.js', '.d.ts'].map((ending) => `dist/${file.replace(/\.ts$/, ending)}`));
  assert.deepEqual(files.map(({ path }) => path).sort(), ['LICENSE', 'README.md', 'package.json', ...built].sort());
  assert.equal(readFileSync(here('LICENSE'), 'utf8'), readFileSync(here('../../LICENSE'), 'utf8'));
});
