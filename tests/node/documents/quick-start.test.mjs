// docs/quick-start.md from top to bottom: each command is run, each answer is the one it shows.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { Program } from '../cluster.mjs';
import { blocks, read, root, shape } from './blocks.mjs';

const run = promisify(execFile);
const BINARY = process.env.SIGNALING_BIN ?? `${root}target/debug/onlycare-signaling`;
const { chromium } = createRequire(`${root}web/test/from-here.js`)('playwright-core');
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
after(async () => {
  await browser.close();
  for (const program of Program.all) program.kill();
});

async function node(variables) {
  const program = new Program('node', BINARY, [], { PATH: process.env.PATH, PORT: '0', ADMIN_PORT: '0', LOG_FORMAT: 'json', ...variables });
  const line = () => program.lines.find((text) => text.includes('"message":"listening"'));
  await program.until(line, 'listen');
  return `http://127.0.0.1:${JSON.parse(line()).public.split(':').pop()}`;
}

/** What Ana's user presses, after which answer. */
const HANDS = {
  '"connectedUsers":0': async (page) => {
    await page.click('#phone-1 [data-do=connect]');
    await shows(page, 'idle');
  },
  'Call initiated': async (page) => {
    await shows(page, 'Office is calling');
    await page.click('#phone-1 [data-do=accept]');
    await shows(page, 'in call');
  },
  '"emitted":true': (page) => shows(page, 'ended: Remote user ended call'),
};
const shows = (page, text) => page.waitForFunction((wanted) => document.querySelector('#phone-1 [data-show=state]').textContent === wanted, text, { timeout: 15_000 });

/** Runs the document's curls against a node, with further arguments. */
async function follow(url, extra = []) {
  const page = await browser.newPage();
  await page.goto(url);
  const all = blocks('docs/quick-start.md');
  let asked = 0;
  for (const [at, { language, text }] of all.entries()) {
    if (language !== 'sh' || !text.startsWith('curl')) continue;
    const shown = all[at + 1];
    assert.equal(shown.language, 'json', `${text} shows no answer`);
    const command = text.replace('http://127.0.0.1:3001', url).trim() + extra.map((word) => ` ${word}`).join('');
    const wanted = JSON.stringify(shape(JSON.parse(shown.text)));
    const deadline = Date.now() + 10_000;
    // What phones and envelopes did is in the timeline a moment later.
    for (;;) {
      const answer = JSON.stringify(shape(JSON.parse((await run('bash', ['-c', command])).stdout)));
      if (answer === wanted) break;
      if (Date.now() > deadline || !text.includes('/api/calls/')) assert.equal(answer, wanted, command);
    }
    asked += 1;
    for (const [part, hand] of Object.entries(HANDS)) if (shown.text.includes(part)) await hand(page);
  }
  await page.close();
  assert.equal(asked, 5);
}

test('by cargo', async () => {
  assert.ok(blocks('docs/quick-start.md', 'sh').some(({ text }) => text === 'cargo run\n'));
  await follow(await node({}));
});

test('by docker: the variables of its line, the secret that it names', async () => {
  const text = read('docs/quick-start.md');
  const line = blocks('docs/quick-start.md', 'sh').find((block) => block.text.startsWith('docker')).text.split('\n')[1];
  const variables = Object.fromEntries([...line.matchAll(/-e (\w+)=(\S+)/g)].map(([, name, value]) => [name, value]));
  if (line.includes('--dev')) variables.AUTH = 'insecure'; // what it means, besides the addresses it listens on
  const header = /-H '[^']*Secret[^']*'/.exec(text)[0];
  await follow(await node(variables), [header]);
});

test('every command is one of these', () => {
  for (const { text } of blocks('docs/quick-start.md', 'sh')) {
    assert.match(text, /^(cargo run\n$|docker build|curl -s http:\/\/127\.0\.0\.1:3001\/|cd clients\/js && npm ci && npm run build\n$)/);
  }
});
