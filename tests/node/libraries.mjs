// Plays every outcome of a call across two nodes with the client libraries, through what an app has of them: TypeScript in Node and
// in Chromium, Kotlin in a JVM. Each phone and the server's record have to say what libraries/outcomes.mjs does.
//
//   node tests/node/libraries.mjs [text…]     plays all, or those whose line contains every text
//
// clients/js must be built, and clients/kotlin tested once (scripts/client-tests): what is not there is said to be SKIPPED.
// SIGNALING_BIN names the binary (default target/debug/onlycare-signaling); redis-server comes from PATH.
import assert from 'node:assert/strict';
import { createServer, connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, RING_MS } from './cluster.mjs';
import { nextCallId, nextUserId } from './ids.mjs';
import { MODES } from './phone.mjs';
import { outcomes } from './libraries/outcomes.mjs';
import { PROGRAMS } from './libraries/programs.mjs';

const WITHIN_MS = RING_MS + 7000;
const AT_ONCE = 16;
/** What comes unasked comes until then. */
const QUIET_MS = 300;
const PHASES = ['calling', 'ringing', 'answering', 'active', 'ended'];
const FIELDS = { channelName: 'channel-1', agoraToken: 'token/+=', gift: { coins: 7, from: 'später' } };

let phones = 0;

/** Waits until `look` finds nothing to say. */
async function until(look) {
  for (const deadline = performance.now() + WITHIN_MS; ; await delay(20)) {
    const missing = await look();
    if (!missing) return;
    if (performance.now() > deadline) throw new Error(`after ${WITHIN_MS} ms ${missing}`);
  }
}

/** The way of a phone to its node, which can be cut, and sees by which transports it comes. */
class Way {
  transports = new Set();
  #sockets = new Set();
  #open = true;

  static async to(node) {
    const way = new Way();
    way.node = node;
    way.server = createServer((near) => way.#pass(near));
    await new Promise((done) => way.server.listen(0, '127.0.0.1', done));
    way.url = `http://127.0.0.1:${way.server.address().port}`;
    return way;
  }

  #pass(near) {
    if (!this.#open) return near.destroy();
    const { hostname, port } = new URL(this.node.url);
    const far = connect(Number(port), hostname);
    near.on('data', (bytes) => {
      for (const [, transport] of bytes.toString('latin1').matchAll(/^(?:GET|POST) \S*transport=(\w+)/gm)) this.transports.add(transport);
    });
    for (const [one, other] of [[near, far], [far, near]]) {
      this.#sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => { this.#sockets.delete(one); other.destroy(); });
      one.pipe(other);
    }
  }

  cut() {
    this.#open = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(node) {
    this.node = node;
    this.#open = true;
  }

  close() {
    this.cut();
    this.server.close();
  }
}

/** A phone of a story: what it was told, and what it has said. */
class Phone {
  link = 'idle';
  calls = new Map();
  phases = new Map();
  restored = new Set();
  heard = [];
  lines = [];

  constructor(traits) {
    Object.assign(this, traits, { number: ++phones });
  }

  hear(said) {
    this.lines.push(JSON.stringify(said));
    if (said.is === 'link') this.link = said.status;
    if (said.is === 'call') {
      this.calls.set(said.callId, said);
      if (said.restored) this.restored.add(said.callId);
      this.phases.set(said.callId, [...(this.phases.get(said.callId) ?? []), said.phase]);
    }
    if (said.is === 'message') this.heard.push(`${JSON.stringify(said.data)}${said.kept ? ' kept' : ''}`);
  }

  /** A call as its screen shows it. */
  shows(callId) {
    const call = this.calls.get(callId);
    if (!call) return '–';
    const { phase, reason, text, callType, asks, alerting, byPush, restored } = call;
    if (phase === 'ended') return `ended ${reason}${reason === 'rejected' && text && text !== 'User declined' ? `: ${text}` : ''}`;
    const traits = phase === 'ringing' ? [alerting && 'alerting', byPush && 'by push'] : [asks && `${asks === 'me' ? 'I' : 'he'} ask${asks === 'me' ? '' : 's'}`];
    return [phase === 'active' ? `active ${callType.toLowerCase()}` : phase, ...traits, restored && 'restored'].filter(Boolean).join(', ');
  }
}

class Story {
  #phones = {};
  #past = [];
  #ways = [];
  #ids = {};
  #users = {};
  #asked = new Map();
  #late = [];
  #expected = {};
  #fault;

  constructor(cluster, program, mode) {
    Object.assign(this, { cluster, mode });
    [this.a, this.b] = cluster.nodes;
    this.tell = program.open((said) => this.#hear(said));
  }

  async play([cast, ...steps]) {
    try {
      await Promise.all(Object.entries(cast).map(([name, where]) => this.#casts(name, where)));
      for (const step of steps) await this.#step(...step);
      for (const [what, answer] of this.#late) assert.equal(await answer, 'ok', what);
      await delay(QUIET_MS);
      await this.#judge();
    } catch (error) {
      const all = [...this.#past, ...Object.values(this.#phones)];
      const lines = all.map(({ name, number, lines: heard }) => `    ${name}, ${number}:\n${heard.map((line) => `      ${line}`).join('\n')}`);
      throw new Error(`${error.message}\n${lines.join('\n')}`, { cause: error });
    } finally {
      for (const phone of Object.values(this.#phones)) await this.#tell(phone, 'close');
      for (const way of this.#ways) way.close();
    }
  }

  async #casts(name, where) {
    const [node, asleep] = where.split(', ');
    const [who] = name.split(' ');
    const phone = new Phone({
      name, user: (this.#users[who] ??= nextUserId()), deviceId: name.replaceAll(' ', '-'), way: await Way.to(node === 'A' ? this.a : this.b),
    });
    this.#ways.push(phone.way);
    this.#phones[name] = phone;
    await this.#make(phone);
    if (!asleep) await this.#connects(phone);
  }

  #make(phone) {
    return this.#tell(phone, 'make', { url: phone.way.url, userId: phone.user, deviceId: phone.deviceId, transports: MODES[this.mode].transports });
  }

  async #connects(phone) {
    await this.#tell(phone, 'connect');
    await this.#linked(phone, true);
  }

  #linked(phone, wanted) {
    return until(() => this.#fault ?? ((phone.link === 'ready') === wanted ? null : `the link of ${phone.name} is ${phone.link}`));
  }

  #tell(phone, word, more = {}) {
    return this.tell({ phone: phone.number, do: word, ...more });
  }

  #hear(said) {
    if (said.is === 'fault') return (this.#fault = said.text);
    const phone = [...this.#past, ...Object.values(this.#phones)].find(({ number }) => number === said.phone);
    phone.hear(said);
    if (said.is === 'answer') this.#asked.get(said.asked)(said);
  }

  /** Says a word that is answered, and gives the answer in words. */
  async #asks(phone, word, more) {
    const asked = this.#asked.size + 1;
    const answered = new Promise((done) => this.#asked.set(asked, done));
    await this.#tell(phone, word, { asked, ...more });
    const answer = await Promise.race([answered, delay(WITHIN_MS, null, { ref: false })]);
    if (!answer) return `nothing in ${WITHIN_MS} ms`;
    const { outcome, devices, ringingCallId } = answer;
    if (ringingCallId) assert.equal(ringingCallId, this.#ids.it);
    return [outcome, devices !== undefined && `to ${devices}`, ringingCallId && 'it rings'].filter(Boolean).join(outcome === 'ok' ? ' ' : ', ');
  }

  async #step(who, word, of = {}, answer = null, then = {}) {
    const what = `${who} ${word}`;
    const phone = this.#phones[who];
    const { call = 'it', to, ...more } = of;
    const other = phone?.way.node === this.a ? this.b : this.a;
    let said;
    switch (word) {
      case 'waits':
        break;
      case 'cut':
        phone.way.cut();
        await this.#linked(phone, false);
        break;
      case 'back':
        phone.way.mend(other);
        await this.#linked(phone, true);
        break;
      case 'connect':
        await this.#connects(phone);
        break;
      case 'restart': {
        await this.#tell(phone, 'close');
        this.#past.push(phone);
        phone.way.node = other;
        const next = (this.#phones[who] = new Phone({ name: phone.name, user: phone.user, deviceId: phone.deviceId, way: phone.way }));
        await this.#make(next);
        await this.#connects(next);
        break;
      }
      case 'call':
        this.#ids[call] = nextCallId();
        said = this.#asks(phone, 'call', { callId: this.#ids[call], to: this.#phones[to].user, type: 'AUDIO', fields: FIELDS });
        break;
      case 'push': {
        const { channelName: channelId, ...fields } = FIELDS;
        const data = {
          type: 'incoming_call', callId: this.#ids[call], callerId: this.#phones.ana.user, callType: 'AUDIO', channelId, ...fields,
          timestamp: String(Date.now()),
        };
        said = this.#asks(phone, 'push', { data });
        break;
      }
      default:
        said = this.#asks(phone, word, { callId: this.#ids[call], ...(word === 'send' ? { id: `m${this.#asked.size}` } : {}), ...more });
    }
    if (answer === 'later') this.#late.push([what, said]);
    else if (answer !== null) assert.equal(answer === 'ok' ? (await said).split(' ')[0] : await said, answer, what);
    Object.assign(this.#expected, then);
    await until(async () => {
      const differs = this.#fault ?? (await this.#differs());
      return differs && `after ${what}: ${differs}`;
    });
  }

  /** What all screens and the records show that is not as it should be. */
  async #differs() {
    const shown = {};
    for (const [call, id] of Object.entries(this.#ids)) {
      const of = call === 'it' ? '' : ` of ${call}`;
      shown[`record${of}`] = await this.#record(id);
      for (const [name, phone] of Object.entries(this.#phones)) shown[call === 'it' ? name : `${name} in ${call}`] = phone.shows(id);
    }
    for (const [name, { heard }] of Object.entries(this.#phones)) shown[`${name} hears`] = heard.join(', ');
    const wrong = Object.keys({ ...shown, ...this.#expected }).filter((key) => shown[key] !== (this.#expected[key] ?? (key.endsWith(' hears') ? '' : '–')));
    return wrong.map((key) => `${key} is "${shown[key]}" and not "${this.#expected[key] ?? ''}"`).join('; ');
  }

  /** What the server has written, asked at either node. */
  async #body(id) {
    return (await (this.#asked.size % 2 ? this.a : this.b).get(`/api/calls/${id}`)).body;
  }

  async #record(id) {
    const { state, callType, reason, endedBy, text } = await this.#body(id);
    if (state !== 'ended') return state === 'active' ? `active ${callType.toLowerCase()}` : state;
    const by = Object.keys(this.#users).find((name) => this.#users[name] === endedBy);
    return `ended ${reason}${by ? ` by ${by}` : ''}${text ? `: ${text}` : ''}`;
  }

  /** What holds at the end of any story. */
  async #judge() {
    const differs = this.#fault ?? (await this.#differs());
    assert.equal(differs, '', `in the end ${differs}`);
    for (const phone of [...this.#past, ...Object.values(this.#phones)]) {
      for (const [id, call] of phone.calls) {
        const record = await this.#body(id);
        const where = `${phone.name}, ${id}`;
        assert.ok(Object.values(this.#ids).includes(id), `${where}: nobody dialled it`);
        assert.deepEqual([record.callerId, record.receiverId], call.role === 'caller' ? [phone.user, call.peer] : [call.peer, phone.user], where);
        if (!phone.restored.has(id)) for (const [field, value] of Object.entries(FIELDS)) assert.deepEqual(call.fields[field], value, `${where}: ${field}`);
        const phases = phone.phases.get(id).map((phase) => PHASES.indexOf(phase));
        assert.deepEqual(phases, [...phases].sort(), `${where}: ${phone.phases.get(id)}`);
        if (record.acceptedAt === undefined) assert.ok(!phone.phases.get(id).includes('active'), `${where}: active, and the record was not`);
        if (call.durationMs !== undefined) assert.equal(call.durationMs, record.durationMs, `${where}: how long it took`);
      }
      const { transports } = phone.way;
      if (transports.size) assert.deepEqual([...transports].sort(), [...MODES[this.mode].transports].sort(), `${phone.name}: transports`);
    }
    const faults = this.cluster.faults();
    assert.equal(faults.length, 0, faults.join('\n'));
  }
}

const words = process.argv.slice(2);
const began = performance.now();
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(2)} s`.padStart(8);
let passed = 0;
let failed = 0;

async function play({ title, story, program, mode, cluster }) {
  const start = performance.now();
  try {
    await new Story(cluster, program, mode).play(story);
    passed += 1;
    console.log(`ok   ${seconds(start)}  ${title}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${seconds(start)}  ${title}\n  ${error.message}`);
  }
}

try {
  const plays = [];
  const programs = [];
  const cluster = await Cluster.start();
  for (const [name, { missing, begin }] of Object.entries(PROGRAMS)) {
    const titles = Object.keys(MODES).flatMap((mode) => Object.entries(outcomes).map(([outcome, story]) => ({
      title: `${mode.padEnd(9)}  ${name}: ${outcome}`, story, mode, cluster,
    }))).filter(({ title }) => words.every((word) => title.includes(word)));
    if (!titles.length) continue;
    const why = missing();
    if (why) {
      console.log(`SKIPPED ${name}: ${why}`);
      continue;
    }
    const program = await begin();
    programs.push(program);
    plays.push(...titles.map((one) => ({ ...one, program })));
  }
  // Those that wait for the end of a ring first.
  const order = Object.values(outcomes);
  plays.sort((one, other) => order.indexOf(one.story) - order.indexOf(other.story));
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let next; (next = plays.shift());) await play(next);
  }));
  for (const { end } of programs) await end();
} catch (error) {
  failed += 1;
  console.log(`FAIL ${error.stack}`);
}
if (failed) Cluster.printLogs();
console.log(`${passed} passed, ${failed} failed, ${seconds(began).trim()}`);
process.exit(failed ? 1 : 0);
