// docs/web.md: its blocks are an app that compiles, and whose pages call each other. Agora is played by a stand-in.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import { Cluster, Program, folder } from '../cluster.mjs';
import { blocks, read, root } from './blocks.mjs';

const app = join(folder, 'app');
const AGORA_TYPES = `export interface ILocalTrack { close(): void }
export interface IRemoteTrack { play(element?: string): void }
export interface IAgoraRTCClient {
  on(event: 'user-published', heard: (user: object, kind: 'audio' | 'video') => void): void;
  subscribe(user: object, kind: 'audio' | 'video'): Promise<IRemoteTrack>;
  join(appId: string, channel: string, token: string | null, uid: null): Promise<number>;
  publish(tracks: ILocalTrack[]): Promise<void>;
  leave(): Promise<void>;
}
declare const AgoraRTC: {
  createClient(config: { mode: 'rtc'; codec: 'vp8' }): IAgoraRTCClient;
  createMicrophoneAudioTrack(): Promise<ILocalTrack>;
  createCameraVideoTrack(): Promise<ILocalTrack>;
};
export default AgoraRTC;
`;
const AGORA = `const track = { close() {} };
export default {
  createClient: () => ({
    on() {}, subscribe: async () => track, publish: async (tracks) => { window.agora.push(tracks.length + ' tracks'); },
    join: async (app, channel) => {
      if (!app || !channel) throw new Error('INVALID_PARAMS: "' + app + '", "' + channel + '"');
      if (location.search.includes('agora=refuses')) throw new Error('invalid vendor key');
      window.agora = ['joined ' + channel];
    },
    leave: async () => { window.agora.push('left'); },
  }),
  createMicrophoneAudioTrack: async () => track, createCameraVideoTrack: async () => track,
};
`;
const IMPORTS = { '@onlycare/signaling-client': '/node_modules/@onlycare/signaling-client/dist/index.js', 'socket.io-client': '/node_modules/socket.io-client/dist/socket.io.esm.min.js', 'agora-rtc-sdk-ng': '/agora.js' };
const TYPES = { '.html': 'text/html', '.js': 'text/javascript' };

let node;
let page;
before(async () => {
  [node] = (await Cluster.start(['W'])).nodes;
  const put = (path, text) => {
    mkdirSync(dirname(join(app, path)), { recursive: true });
    writeFileSync(join(app, path), text);
  };
  for (const { language, text } of blocks('docs/web.md', 'ts', 'js', 'html')) {
    const path = /^(?:\/\/|<!--) (\S+)/.exec(text)[1];
    if (language !== 'html') put(path, text);
    else page = text.replace('<head>', `<head><script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>`).replace('/src/main.ts', '/dist/main.js');
  }
  put('node_modules/agora-rtc-sdk-ng/index.d.ts', AGORA_TYPES);
  put('node_modules/agora-rtc-sdk-ng/package.json', '{"name":"agora-rtc-sdk-ng","version":"0.0.0","types":"index.d.ts"}');
  put('package.json', '{"type":"module"}');
  mkdirSync(join(app, 'node_modules/@onlycare'), { recursive: true });
  symlinkSync(`${root}clients/js`, join(app, 'node_modules/@onlycare/signaling-client'));
  symlinkSync(`${root}clients/js/node_modules/socket.io-client`, join(app, 'node_modules/socket.io-client'));
});
after(() => {
  for (const program of Program.all) program.kill();
});

const compile = (lib, ...files) => execFileSync(process.execPath, [
  `${root}clients/js/node_modules/typescript/bin/tsc`, '--strict', '--noUncheckedIndexedAccess', '--target', 'es2022', '--module', 'esnext',
  '--moduleResolution', 'bundler', '--lib', lib, '--skipLibCheck', '--outDir', 'dist', ...files,
], { cwd: app, encoding: 'utf8' });

test('the blocks compile', () => {
  try {
    compile('es2022,dom,dom.iterable', 'src/main.ts');
  } catch (error) {
    assert.fail(error.stdout);
  }
});

test('npm installs into the new app, from where the folder is', () => {
  const [{ text }] = blocks('docs/web.md', 'sh');
  const [create, enter, install] = text.split('\n');
  const [, name] = /^npm create vite@latest (\S+) /.exec(create);
  assert.equal(enter, `cd ${name}`);
  assert.match(install, /^npm install \.\.\/onlycare-signaling\/clients\/js /);
});

test('the service worker is a file that Vite serves as it is, and tells pages of a push, or shows it', async () => {
  const [, registered] = /serviceWorker\?\.register\('\/([^']+)'\)/.exec(read('docs/web.md'));
  const worker = readFileSync(join(app, 'public', registered), 'utf8');
  const [heard, shown, opened] = [[], [], []];
  const listeners = {};
  let pages = [];
  const self = {
    addEventListener: (name, listener) => { listeners[name] = listener; },
    // None of them is controlled: it was open before the worker was.
    clients: { matchAll: async ({ includeUncontrolled }) => (includeUncontrolled ? pages : []), openWindow: async (path) => opened.push(path) },
    registration: { showNotification: async (title, { tag }) => shown.push(`${title}, ${tag}`) },
  };
  runInContext(worker, createContext({ self }));
  const happens = async (name, event) => {
    let done;
    listeners[name]({ ...event, waitUntil: (promise) => { done = promise; } });
    await done;
  };
  const push = (data) => happens('push', { data: { json: () => data } });
  const call = { type: 'incoming_call', callId: 'CALL_17', callerName: 'Ana' };
  await push(call);
  await push({ type: 'news' });
  pages = [{ visibilityState: 'hidden', postMessage: (data) => heard.push(data.callId) }];
  await push(call);
  pages[0].visibilityState = 'visible';
  await push({ ...call, callId: 'CALL_18' });
  assert.deepEqual([heard, shown], [['CALL_17', 'CALL_18'], ['Ana calls, CALL_17', 'Ana calls, CALL_17']]);
  await happens('notificationclick', { notification: { close() {} } });
  assert.deepEqual(opened, ['/']);
});

/** Serves the app, and gives `play` what opens a page of a user in a browser; afterwards no page has complained. */
async function inBrowser(play) {
  const fileOf = (path) => (path === '/sw.js' ? 'public/sw.js' : /\.\w+$/.test(path) ? path : `${path}.js`);
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://here').pathname;
    if (path === '/favicon.ico') return response.writeHead(204).end();
    response.writeHead(200, { 'content-type': TYPES[path === '/' ? '.html' : extname(path)] ?? 'text/javascript' });
    response.end(path === '/' ? page : path === '/agora.js' ? AGORA : readFileSync(join(app, fileOf(path))));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { chromium } = createRequire(`${root}web/test/from-here.js`)('playwright-core');
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
  try {
    const complaints = [];
    await play(async (user, { context, more = '' } = {}) => {
      const tab = await (context ?? await browser.newContext()).newPage();
      tab.on('pageerror', (error) => complaints.push(error.message));
      await tab.goto(`http://127.0.0.1:${server.address().port}/?user=${user}&server=${encodeURIComponent(node.url)}${more}`);
      await tab.waitForFunction(() => document.querySelector('#link').textContent === 'ready');
      return tab;
    });
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
    server.close();
  }
}

/** Has one page call the user of another, who answers. */
async function talk(from, to) {
  const user = (tab) => new URL(tab.url()).searchParams.get('user');
  await from.fill('[name=callee]', user(to));
  await from.click('#dial button');
  await to.getByText(`${user(from)} calls`).waitFor();
  await to.getByText('Answer').click();
  await from.getByText(`In a call with ${user(to)}`).waitFor();
}

test('a screen says why there is no media, and the call goes on', () => inBrowser(async (open) => {
  const more = '&agora=refuses';
  const [ana, bo] = [await open('USR_w3', { more }), await open('USR_w4', { more })];
  await talk(ana, bo);
  for (const tab of [ana, bo]) await tab.getByText('No sound or picture: Error: invalid vendor key').waitFor();
  await bo.getByText('Hang up').click();
  await ana.getByText('hung_up').waitFor();
}));

test('two pages call each other, and either comes back into the call after a reload', () => inBrowser(async (open) => {
  const [ana, bo] = [await open('USR_w1'), await open('USR_w2')];
  assert.match(await ana.evaluate(async () => (await navigator.serviceWorker.ready).scope), /^http:\/\/127\.0\.0\.1:\d+\/$/);
  const agora = (tab, wanted) => tab.waitForFunction((text) => (window.agora ?? []).join(' ') === text, wanted);
  await talk(ana, bo);
  await ana.waitForFunction(() => window.agora);
  const channel = (await ana.evaluate(() => window.agora[0]));
  for (const tab of [ana, bo]) await agora(tab, `${channel} 2 tracks`);
  // Another tab of the same browser is the same device, and not in the call.
  const second = await open('USR_w2', { context: bo.context() });
  await second.getByText('In a call with USR_w1').waitFor();
  assert.equal(await second.getByText('Go on').isVisible(), false);
  await second.close();
  for (const [tab, peer] of [[bo, 'USR_w1'], [ana, 'USR_w2']]) {
    await tab.reload();
    await tab.getByText(`In a call with ${peer}`).waitFor();
    assert.equal(await tab.evaluate(() => window.agora), undefined, 'nothing plays before a click');
    await tab.getByText('Go on').click();
    await agora(tab, `${channel} 2 tracks`);
  }
  await bo.getByText('Hang up').click();
  for (const tab of [ana, bo]) await agora(tab, `${channel} 2 tracks left`);
  for (const tab of [ana, bo]) assert.equal(await tab.evaluate(() => sessionStorage.length), 0);
}));
