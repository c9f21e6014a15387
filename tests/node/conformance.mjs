// Holds two nodes against docs/protocol.md and docs/semantics.md with the official Socket.IO client.
//
//   node tests/node/conformance.mjs [text…]     plays all scenarios, or those whose line contains every text
//
// SIGNALING_BIN names the binary (default target/debug/onlycare-signaling); redis-server comes from PATH.
import { Cluster } from './cluster.mjs';
import { MODES, Phone } from './phone.mjs';
import { Stage } from './stage.mjs';
import { calls } from './scenarios/calls.mjs';
import { contention } from './scenarios/contention.mjs';
import { devices } from './scenarios/devices.mjs';
import { early } from './scenarios/early.mjs';
import { handshake } from './scenarios/handshake.mjs';
import { hostile } from './scenarios/hostile.mjs';
import { alone, http } from './scenarios/http.mjs';
import { load } from './scenarios/load.mjs';
import { replay } from './scenarios/replay.mjs';

const everyMode = Object.keys(MODES);

// So many scenarios of one act play at the same time: the suite measures calls, not a storm of its own making.
const AT_ONCE = 60;

// The counts of `/health` want the cluster for themselves, and
// what hostile payloads might break must not be blamed on others.
const acts = [
  [{ scenarios: alone, modes: ['upgrade'] }],
  [
    { scenarios: load, modes: ['mixed'] },
    { scenarios: { ...calls, ...early, ...contention, ...devices, ...replay, ...http, ...handshake }, modes: everyMode },
  ],
  [{ scenarios: hostile, modes: everyMode }],
];

const words = process.argv.slice(2);
const began = performance.now();
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(2)} s`.padStart(8);
let cluster;
let passed = 0;
let failed = 0;

async function play(title, mode, scenario) {
  const stage = new Stage(cluster, mode);
  const start = performance.now();
  let time;
  try {
    const notes = await scenario(stage);
    time = seconds(start);
    await stage.silence();
    const faults = cluster.faults();
    if (faults.length) throw new Error(faults.join('\n'));
    passed += 1;
    console.log(`ok   ${time}  ${title}`);
    for (const note of notes ?? []) console.log(`                 ${note}`);
  } catch (error) {
    failed += 1;
    const reason = error.name === 'Error' ? error.message : error.stack;
    console.log(`FAIL ${time ?? seconds(start)}  ${title}\n  ${reason}`);
  } finally {
    stage.close();
  }
}

try {
  cluster = await Cluster.start();
  console.log(`     ${seconds(began)}  redis and two nodes are up`);
  for (const act of acts) {
    const plays = act
      .flatMap(({ scenarios, modes }) => modes.flatMap((mode) => Object.entries(scenarios).map(([name, scenario]) => (
        { title: `${mode.padEnd(9)}  ${name}`, mode, scenario }
      ))))
      .filter(({ title }) => words.every((word) => title.includes(word)));
    const actors = Array.from({ length: AT_ONCE }, async () => {
      for (let next; (next = plays.shift());) await play(next.title, next.mode, next.scenario);
    });
    await Promise.all(actors);
  }
} catch (error) {
  failed += 1;
  console.log(`FAIL ${error.message}`);
}
if (failed) Cluster.printLogs();
console.log(`${passed} passed, ${failed} failed, ${Phone.retries} refused handshakes, ${seconds(began).trim()}`);
process.exit(failed ? 1 : 0);
