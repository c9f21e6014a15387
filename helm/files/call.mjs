// Two users connect to two different nodes; one rings the other, who accepts and hangs up. Needs Node.js 20 and nothing
// else. `helm test` runs it; by hand: NODES=http://10.0.0.1:3001,http://10.0.0.2:3001 CALLER_ID=… node call.mjs
import { lookup } from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';

const PATIENCE_MS = 20_000;
// Right after an install images are still pulled; below the 5 minutes of `helm test`.
const START_MS = 180_000;
const { CALLER_ID, CALLER_TOKEN, CALLEE_ID, CALLEE_TOKEN } = process.env;

/** A phone that speaks Engine.IO by long polling. */
class Phone {
  constructor(name, node, userId, token) {
    Object.assign(this, { name, node, auth: { userId, token, acks: 'true' }, heard: [], waiting: [], acks: 0 });
  }

  async open() {
    const [open] = await this.poll();
    this.sid = JSON.parse(open.slice(1)).sid;
    await this.send(`40${JSON.stringify(this.auth)}`);
    this.listening = this.listen();
    this.listening.catch((error) => this.hear('(broken)', { message: error.message }));
  }

  async listen() {
    while (!this.closed) {
      for (const packet of await this.poll()) {
        if (packet === '2') await this.send('3');
        else if (packet.startsWith('44')) this.hear('(refused)', JSON.parse(packet.slice(2)));
        else if (packet.startsWith('42')) await this.event(packet.slice(2));
        else if (packet.startsWith('43')) this.hear('(ack)', JSON.parse(packet.slice(packet.indexOf('[')))[0]);
      }
    }
  }

  async event(text) {
    const start = text.indexOf('[');
    const [event, payload] = JSON.parse(text.slice(start));
    if (start > 0) await this.send(`43${text.slice(0, start)}[]`);
    this.hear(event, payload);
  }

  hear(event, payload) {
    this.heard.push({ event, payload });
    for (const look of this.waiting) look();
  }

  expect(...events) {
    return new Promise((done, failed) => {
      const look = () => {
        const found = this.heard.find(({ event }) => events.includes(event) || event === '(broken)');
        if (!found) return;
        clearTimeout(timer);
        this.waiting = this.waiting.filter((other) => other !== look);
        if (found.event === '(broken)') failed(new Error(`${this.name}: ${found.payload.message}`));
        else done(found);
      };
      const timer = setTimeout(() => {
        const heard = this.heard.map(({ event }) => event).join(', ') || 'nothing';
        failed(new Error(`${this.name} waited for ${events.join(' or ')}, heard ${heard}`));
      }, PATIENCE_MS);
      this.waiting.push(look);
      look();
    });
  }

  emit(event, payload) {
    return this.send(`42${this.acks++}${JSON.stringify([event, payload])}`);
  }

  async poll() {
    return (await this.request('GET')).split('\x1e');
  }

  send(body) {
    return this.request('POST', body);
  }

  async request(method, body) {
    const sid = this.sid ? `&sid=${this.sid}` : '';
    const headers = body ? { 'Content-Type': 'text/plain;charset=UTF-8' } : {};
    const url = `${this.node}/socket.io/?EIO=4&transport=polling${sid}`;
    const answer = await fetch(url, { method, body, headers, signal: AbortSignal.timeout(60_000) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${this.node}: ${answer.status} ${text}`);
    return text;
  }

  async close() {
    this.closed = true;
    await this.send('1').catch(() => {});
  }
}

/** By the resolver of the system: a name in a cluster is short, and only that one knows the rest of it. */
async function nodes() {
  if (process.env.NODES) return process.env.NODES.split(',');
  const { NODES_NAME, NODES_PORT } = process.env;
  const found = await lookup(NODES_NAME, { all: true }).catch(() => []);
  const v4 = found.filter(({ family }) => family === 4);
  return (v4.length ? v4 : found).map(({ address, family }) => `http://${family === 6 ? `[${address}]` : address}:${NODES_PORT}`);
}

/** The nodes that are ready, as soon as there are two of them; one where there is to be one, or no other comes. */
async function readyNodes() {
  for (let said = '', until = performance.now() + START_MS; ; await delay(1000)) {
    const found = await nodes();
    const answers = await Promise.all(found.map((node) => fetch(`${node}/ready`, { signal: AbortSignal.timeout(5000) }).then(({ ok }) => ok, () => false)));
    const ready = found.filter((_, at) => answers[at]);
    const over = performance.now() > until;
    const wanted = Math.min(2, process.env.NODES_WANTED ?? found.length);
    if (ready.length && (ready.length >= wanted || over)) return ready;
    const state = `${ready.length} of ${found.length} nodes are ready`;
    if (over) throw new Error(found.length ? state : 'no node found');
    if (said !== state) console.log(said = state);
  }
}

async function main() {
  const found = await readyNodes();
  if (found.length < 2) console.log('only one node: the call does not cross nodes');
  const [a, b] = [found[0], found.at(-1)];
  if (!CALLER_TOKEN || !CALLEE_TOKEN) {
    for (const node of new Set([a, b])) {
      const phone = new Phone('stranger', node, 'USR_0', 'no-such-token');
      await phone.open();
      const { payload } = await phone.expect('(refused)');
      console.log(`${node}: ${payload.message}`);
      if (payload.message !== 'Invalid token') throw new Error('Laravel did not judge the token');
      await phone.close();
    }
    console.log('NO CALL WAS MADE: set test.existingSecret to two users of yours');
    return;
  }
  const [ana, bo] = [new Phone('caller', a, CALLER_ID, CALLER_TOKEN), new Phone('callee', b, CALLEE_ID, CALLEE_TOKEN)];
  for (const phone of [ana, bo]) {
    await phone.open();
    const { event, payload } = await phone.expect('session:ready', '(refused)');
    if (event === '(refused)') throw new Error(`${phone.name} was refused: ${payload.message}`);
  }
  const callId = `CALL_test${Date.now()}`;
  const started = performance.now();
  await ana.emit('call:initiate', { receiverId: CALLEE_ID, callId, callType: 'AUDIO', channelName: 'test', agoraToken: '' });
  await bo.expect('call:incoming');
  const rang = performance.now();
  await bo.emit('call:accept', { callId });
  await ana.expect('call:accepted');
  const accepted = performance.now();
  await bo.emit('call:end', { callId });
  await ana.expect('call:ended');
  await Promise.all([ana.close(), bo.close()]);
  console.log(`${a} rang ${b} after ${(rang - started).toFixed(0)} ms, heard the accept after ${(accepted - rang).toFixed(0)} ms`);
}

// A poll may still be held; it is not waited for.
main().then(() => process.exit(0), (error) => {
  console.error(error.message);
  process.exit(1);
});
