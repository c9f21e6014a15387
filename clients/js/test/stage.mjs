// Two nodes on one Redis, each behind a proxy of ours that can cut, and phones of the library.
import { createServer, connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Program, answersPing } from '../../../tests/node/cluster.mjs';
import { Phone } from '../dist/index.js';

const PATIENCE_MS = 30_000;

export { Cluster, Program };

/** Waits until `condition` gives something, and gives it. */
export async function until(condition, what, within = PATIENCE_MS) {
  const deadline = performance.now() + within;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`waited ${within} ms until ${typeof what === 'function' ? what() : what}`);
    await delay(10);
  }
}

/** Ends Redis and starts it again after a while, without its data. */
export async function restartRedis(awayMs) {
  const redis = Program.all.findLast(({ name }) => name === 'redis');
  redis.kill();
  while (!redis.exit) await delay(10);
  await delay(awayMs);
  const [, ...args] = redis.child.spawnargs;
  await new Program('redis', 'redis-server', args).until(() => answersPing(args[args.indexOf('--port') + 1]), 'answer PING');
}

/** A TCP proxy in front of `target`, which may change. */
export class Proxy {
  /** What comes from where, where it goes, and whether it does. */
  #pipes = new Set();
  open = true;

  static async start(target) {
    const proxy = new Proxy();
    proxy.target = target;
    proxy.server = createServer((near) => {
      if (!proxy.open) return near.destroy();
      const { hostname, port } = new URL(proxy.target);
      const far = connect(Number(port), hostname);
      for (const [one, other] of [[near, far], [far, near]]) {
        const pipe = { one, other, flows: true };
        proxy.#pipes.add(pipe);
        one.on('error', () => other.destroy());
        one.on('close', () => { proxy.#pipes.delete(pipe); other.destroy(); });
        one.pipe(other);
      }
    });
    await new Promise((done) => proxy.server.listen(0, '127.0.0.1', done));
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  /** Breaks every connection. */
  cut() {
    for (const { one } of this.#pipes) one.destroy();
  }

  /** Nothing passes on the connections of now until what this gives is called; new ones are not concerned. */
  hold() {
    const held = [...this.#pipes].filter(({ flows }) => flows);
    for (const pipe of held) {
      pipe.flows = false;
      pipe.one.unpipe(pipe.other);
      pipe.one.pause();
    }
    return () => {
      for (const pipe of held) {
        pipe.flows = true;
        if (!pipe.one.destroyed) pipe.one.pipe(pipe.other);
      }
    };
  }

  close() {
    this.open = false;
    this.cut();
    this.server.close();
  }
}

const phones = [];
let users = 0;

/** A phone of a new user, or of the given one, that keeps what it was told. */
export function phoneAt(url, options = {}) {
  const userId = options.userId ?? `USR_${process.pid}${++users}`;
  const phone = new Phone({ url, userId, deviceId: `device-of-${userId}`, token: () => `token-of-${userId}`, ...options });
  phone.userId = userId;
  phone.rang = [];
  phone.onIncoming((call) => phone.rang.push(call));
  phones.push(phone);
  return phone;
}

export const ready = (...all) => Promise.all(all.map((phone) => {
  phone.connect();
  return until(() => phone.link.status === 'ready', () => `${phone.userId} is ready: ${logOf(phone)}`);
}));

export const logOf = (phone) => `\n${phone.log.map(({ at, text }) => `  ${at % 100000} ${text}`).join('\n')}`;

/** The next call that rings at a phone. */
export const rings = (phone) => until(() => phone.rang.shift(), () => `${phone.userId} rings: ${logOf(phone)}`);

export const reaches = (call, phase, reason) => until(
  () => call.state.phase === phase && (reason === undefined || call.state.reason === reason),
  () => `${call.id} is ${phase} ${reason ?? ''}; it is ${JSON.stringify(call.state)}`,
);

export function closePhones() {
  for (const phone of phones.splice(0)) phone.close();
}
