// Holds two nodes against docs/protocol.md and docs/semantics.md with the official Socket.IO client, and plays every outcome
// of a call with others: its version 3.1, python-socketio, and the deployed app's for the JVM.
//
//   node tests/node/conformance.mjs [text…]     plays all scenarios, or those whose line contains every text
//
// SIGNALING_BIN names the binary (default target/debug/onlycare-signaling); redis-server comes from PATH.
import { others } from './clients.mjs';
import { Cluster } from './cluster.mjs';
import { MODES, Phone } from './phone.mjs';
import { Stage } from './stage.mjs';
import { ancient } from './scenarios/ancient.mjs';
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
    { scenarios: ancient, modes: ['polling', 'websocket'] },
    { scenarios: { ...calls, ...early, ...contention, ...devices, ...replay, ...http, ...handshake }, modes: everyMode },
  ],
  others().flatMap(({ name, missing }) => {
    if (!missing) return [{ scenarios: calls, modes: everyMode, client: name }];
    console.log(`SKIPPED client ${name}: ${missing}`);
    return [];
  }),
  [{ scenarios: hostile, modes: everyMode }],
];

const words = process.argv.slice(2);
const began = performance.now();
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(2)} s`.padStart(8);
let cluster;
let passed = 0;
let failed = 0;

async function play({ title, mode, client, scenario }) {
  const stage = new Stage(cluster, mode, client);
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
      .flatMap(({ scenarios, modes, client }) => modes.flatMap((mode) => Object.entries(scenarios).map(([name, scenario]) => (
        { title: `${mode.padEnd(9)}  ${client ? `${client}: ` : ''}${name}`, mode, client, scenario }
      ))))
      .filter(({ title }) => words.every((word) => title.includes(word)));
    const actors = Array.from({ length: AT_ONCE }, async () => {
      for (let next; (next = plays.shift());) await play(next);
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
