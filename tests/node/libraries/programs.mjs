// Where phones of the client libraries live: in this process, in a page of Chromium, in a JVM. `open` takes who hears what phones of
// a story say, and gives how to tell them what to do.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { hands } from './hands.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const LIBRARY = here('../../../clients/js/');
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const isThere = (path) => existsSync(LIBRARY + path);

/** Name of a library → what it lacks, if anything, and how it begins. */
export const PROGRAMS = {
  'clients/js': { missing: () => !isThere('dist/index.js') && 'it is not built: npm run build', begin: inNode },
  'clients/js in Chromium': {
    missing: () => (!isThere('dist/index.js') && 'it is not built: npm run build') || (!existsSync(CHROMIUM) && `${CHROMIUM} is not there`),
    begin: inChromium,
  },
  'clients/kotlin': { missing: () => !kotlinClasses() && 'it was not tested here, which takes Maven: scripts/client-tests', begin: inJvm },
};

async function inNode() {
  const { Phone } = await import('../../../clients/js/dist/index.js');
  // As it comes from the others: without what is undefined.
  return { open: (hear) => hands(Phone, (said) => hear(JSON.parse(JSON.stringify(said)))), end: () => {} };
}

async function inChromium() {
  const files = { '/hands.mjs': here('hands.mjs') };
  const imports = { 'socket.io-client': '/node_modules/socket.io-client/dist/socket.io.esm.min.js' };
  const page = `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script><script type="module">
    import { hands } from '/hands.mjs';
    import { Phone } from '/dist/index.js';
    window.tell = hands(Phone, (said) => window.say(JSON.stringify(said)));
  </script>`;
  const server = createServer((request, response) => {
    if (request.url === '/favicon.ico') return response.writeHead(204).end();
    response.writeHead(200, { 'content-type': request.url === '/' ? 'text/html' : 'text/javascript' });
    response.end(request.url === '/' ? page : readFileSync(files[request.url] ?? LIBRARY + request.url.slice(1)));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { chromium } = createRequire(here('../../../web/test/from-here.js'))('playwright-core');
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  const tab = await browser.newPage();
  const stories = new Stories();
  tab.on('pageerror', (error) => stories.fault(error.message));
  tab.on('crash', () => stories.fault('the page crashed'));
  await tab.exposeFunction('say', (said) => stories.hear(JSON.parse(said)));
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  await tab.waitForFunction(() => window.tell);
  return { open: (hear) => stories.open(hear, (told) => tab.evaluate((order) => window.tell(order), told)), end: () => browser.close() };
}

async function inJvm() {
  const args = ['-XX:TieredStopAtLevel=1', '-cp', kotlinClasses(), 'app.onlycare.signaling.Hands'];
  const java = spawn('java', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  process.on('exit', () => java.kill('SIGKILL'));
  const stories = new Stories();
  createInterface({ input: java.stdout }).on('line', (line) => stories.hear(JSON.parse(line)));
  java.on('exit', (code, signal) => stories.fault(`the JVM ended: ${signal ?? code}`));
  return { open: (hear) => stories.open(hear, (told) => java.stdin.write(`${JSON.stringify(told)}\n`)), end: () => java.stdin.end() };
}

/** Who is told what a phone says. */
class Stories {
  #all = new Map();

  /** Gives how to tell phones of one story what to do. */
  open(hear, tell) {
    return (told) => {
      this.#all.set(told.phone, hear);
      return tell(told);
    };
  }

  hear(said) {
    this.#all.get(said.phone)(said);
  }

  fault(text) {
    for (const hear of new Set(this.#all.values())) hear({ is: 'fault', text });
  }
}

/** Where the tests of clients/kotlin found their classes. */
export function kotlinClasses() {
  const reports = new URL('../../../clients/kotlin/target/surefire-reports/', import.meta.url);
  try {
    const report = readdirSync(reports).find((name) => name.endsWith('.xml'));
    const text = readFileSync(new URL(report, reports), 'utf8');
    return /name="(?:surefire\.test\.class\.path|java\.class\.path)" value="([^"]*test-classes[^"]*)"/.exec(text)?.[1];
  } catch {
    return undefined;
  }
}
