// Where the tools are that scripts/setup installed, and how a check speaks.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const tools = join(root, 'target/tools');

/** The path of a tool, or null if it is not there. */
export function tool(name) {
  const places = [join(tools, 'kubectl/helm', name), join(tools, 'python/bin', name), join(tools, name)];
  for (const folder of ['/usr/sbin', ...process.env.PATH.split(':')]) places.push(join(folder, name));
  return places.find((place) => existsSync(place)) ?? null;
}

export function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  return { ok: status === 0, stdout: stdout ?? '', stderr: stderr ?? '', text: `${stdout}${stderr}${error ?? ''}`.trim() };
}

/** The same while this process goes on, for what asks a server of it. */
export function runBeside(command, args, options = {}) {
  return new Promise((done) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let [stdout, text] = ['', ''];
    child.stdout.on('data', (data) => (stdout += data));
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += data));
    child.on('error', (error) => done({ ok: false, stdout, text: error.message }));
    child.on('close', (code) => done({ ok: code === 0, stdout, text: text.trim() }));
  });
}

/** All documents of a file. */
export function yaml(text) {
  return parseAllDocuments(text, { merge: true }).map((document) => {
    if (document.errors.length) throw document.errors[0];
    return document.toJS();
  }).filter((document) => document !== null);
}

const outcome = { passed: 0, failed: 0, skipped: 0 };

/** One check; what it throws, or a text it returns, is a failure. */
export async function check(name, body) {
  try {
    const complaint = await body();
    if (typeof complaint === 'string') throw new Error(complaint);
    outcome.passed += 1;
  } catch (error) {
    outcome.failed += 1;
    console.log(`FAILED ${name}\n  ${error.message.replaceAll('\n', '\n  ')}`);
  }
}

export function skip(what, why) {
  outcome.skipped += 1;
  console.log(`SKIPPED ${what}: ${why}`);
}

export function finish(title) {
  const { passed, failed, skipped } = outcome;
  console.log(`${title}: ${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
  process.exit(failed ? 1 : 0);
}

export function assert(holds, message) {
  if (!holds) throw new Error(message);
}
