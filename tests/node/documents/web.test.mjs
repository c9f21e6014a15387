// docs/web.md: its blocks are an app that compiles, and whose pages call each other. Agora is played by a stand-in.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, Program, folder } from '../cluster.mjs';
import { blocks, root } from './blocks.mjs';

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
  for (const { language, text } of blocks('docs/web.md', 'ts', 'html')) {
    const path = /^(?:\/\/|<!--) (\S+)/.exec(text)[1];
    if (language === 'ts') put(path, text);
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
    compile('es2022,webworker', 'src/sw.ts');
  } catch (error) {
    assert.fail(error.stdout);
  }
  assert.ok(existsSync(join(app, 'dist/sw.js')));
});

test('two pages call each other, and either comes back into the call after a reload', async () => {
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://here').pathname;
    if (path === '/favicon.ico') return response.writeHead(204).end();
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'text/html' });
    response.end(path === '/' ? page : path === '/agora.js' ? AGORA : readFileSync(join(app, /\.\w+$/.test(path) ? path : `${path}.js`)));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { chromium } = createRequire(`${root}web/test/from-here.js`)('playwright-core');
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
  try {
    const complaints = [];
    const open = async (user, context) => {
      const tab = await (context ?? await browser.newContext()).newPage();
      tab.on('pageerror', (error) => complaints.push(error.message));
      await tab.goto(`http://127.0.0.1:${server.address().port}/?user=${user}&server=${encodeURIComponent(node.url)}`);
      await tab.waitForFunction(() => document.querySelector('#link').textContent === 'ready');
      return tab;
    };
    const [ana, bo] = [await open('USR_w1'), await open('USR_w2')];
    const agora = (tab, wanted) => tab.waitForFunction((text) => (window.agora ?? []).join(' ') === text, wanted);
    await ana.fill('[name=callee]', 'USR_w2');
    await ana.click('#dial button');
    await bo.getByText('USR_w1 calls').waitFor();
    await bo.getByText('Answer').click();
    await ana.getByText('In a call with USR_w2').waitFor();
    const channel = (await ana.evaluate(() => window.agora[0]));
    for (const tab of [ana, bo]) await agora(tab, `${channel} 2 tracks`);
    // Another tab of the same browser is the same device, and not in the call.
    const second = await open('USR_w2', bo.context());
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
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
    server.close();
  }
});
