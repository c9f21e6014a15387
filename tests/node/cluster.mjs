// One redis-server and two nodes of the binary, started for this run and ended by pid, whatever happens.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';

export const SECRET = 'conformance-secret';
export const RING_MS = 8000;

const BUILT = fileURLToPath(new URL('../../target/debug/onlycare-signaling', import.meta.url));
export const BINARY = resolve(process.env.SIGNALING_BIN ?? BUILT);
const START_MS = 15_000;
const LOG_LINES = 400;

export const folder = mkdtempSync(join(tmpdir(), 'conformance-'));
process.on('exit', () => {
  for (const program of Program.all) program.kill();
  rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

export class Cluster {
  static async start(names = ['A', 'B'], variables = {}) {
    const cluster = new Cluster();
    const port = await freePort();
    /** Where there was one it is empty now. */
    cluster.startRedis = async () => {
      cluster.redis = new Program('redis', 'redis-server', redisArguments(port));
      await cluster.redis.until(() => answersPing(port), 'answer PING');
    };
    await cluster.startRedis();
    const prefix = `conformance-${Math.random().toString(36).slice(2)}`;
    cluster.another = (name, more) => Node.start(name, port, prefix, { ...variables, ...more });
    cluster.nodes = await Promise.all(names.map((name) => cluster.another(name)));
    return cluster;
  }

  /** What a node must not have done by the end of any scenario. */
  faults() {
    return this.nodes.flatMap(({ program }) => [
      ...(program.exit ? [`node ${program.name} ended: ${program.exit}`] : []),
      ...program.lines.filter((line) => line.includes('panicked')).map((line) => `node ${program.name}: ${line}`),
    ]);
  }

  static printLogs(count = 40) {
    for (const program of Program.all) {
      console.log(`--- last log lines of ${program.name}${program.exit ? ` (ended: ${program.exit})` : ''}`);
      for (const line of program.lines.slice(-count)) console.log(line);
    }
  }
}

/** One node of the cluster, as its phones and as Laravel see it. */
class Node {
  static async start(name, redisPort, prefix, variables) {
    const program = new Program(name, BINARY, [], {
      PATH: process.env.PATH,
      RUST_BACKTRACE: '1',
      PORT: '0',
      ADMIN_PORT: '0',
      HOST: '127.0.0.1',
      AUTH: 'insecure',
      LARAVEL_API_SECRET: SECRET,
      REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      REDIS_PREFIX: prefix,
      RING_TIMEOUT_SECS: String(RING_MS / 1000),
      LOG_FORMAT: 'json',
      LOG_LEVEL: 'info',
      EVENTS_PER_MINUTE: '0',
      PRESENCE_IDS_PER_MINUTE: '0',
      RINGS_PER_CALLEE_PER_MINUTE: '1000',
      UNANSWERED_RINGS_PER_CALLEE: '0',
      UNANSWERED_RINGS_PER_CALLER: '0',
      HANDSHAKES_PER_SECOND: '0',
      HANDSHAKES_PER_ADDRESS_PER_SECOND: '0',
      MAX_CONNECTIONS_PER_ADDRESS: '0',
      SESSION_REQUESTS_PER_ADDRESS_PER_SECOND: '0',
      ...variables,
    });
    await program.until(() => program.lines.some(isListening), 'log that it is listening');
    const { public: address, admin } = fieldsOf(program.lines.find(isListening));
    await program.until(async () => (await fetch(`http://${admin}/ready`)).status === 200, 'be ready');
    return Object.assign(new Node(), { name, program, url: `http://${address}`, admin: `http://${admin}` });
  }

  get(path, options) {
    return this.#request('GET', path, undefined, options);
  }

  post(path, body, options) {
    return this.#request('POST', path, body, options);
  }

  /** `secret: null` leaves the header out; a text as `body` is sent as it is. */
  async #request(method, path, body, { secret = SECRET, headers = {} } = {}) {
    const answer = await fetch(this.url + path, {
      method,
      headers: {
        ...(secret === null ? {} : { 'X-Internal-Secret': secret }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    try {
      return { status: answer.status, body: JSON.parse(text) };
    } catch {
      return { status: answer.status, body: text };
    }
  }
}

/** A child process and the last lines it printed. */
export class Program {
  static all = [];

  constructor(name, command, args, env = process.env) {
    this.name = name;
    this.lines = [];
    // In a folder of its own, so that no `.env` is read.
    this.child = spawn(command, args, { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    Program.all.push(this);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        if (this.lines.length > LOG_LINES) this.lines.shift();
      });
    }
    this.child.on('error', (error) => (this.exit = error.message));
    this.child.on('exit', (code, signal) => (this.exit ??= signal ?? `code ${code}`));
  }

  async until(condition, what) {
    const deadline = Date.now() + START_MS;
    while (!(await Promise.resolve().then(condition).catch(() => false))) {
      if (this.exit) throw new Error(`${this.name} ended (${this.exit}) before it could ${what}`);
      if (Date.now() > deadline) throw new Error(`${this.name} did not ${what} within ${START_MS} ms`);
      await delay(20);
    }
  }

  kill() {
    if (this.child.pid && !this.exit) this.child.kill('SIGKILL');
  }
}

function redisArguments(port) {
  return ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder, '--loglevel', 'warning'].map(String);
}

/** A port that nobody has, none of those that the system gives to whoever binds or connects without a choice. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    const isFree = await new Promise((done) => server.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)));
    await new Promise((done) => server.close(done));
    if (isFree) return port;
  }
}

/** Whether something on the port answers `question` with `answer`. */
export function answersPing(port, question = 'PING\r\n', answer = '+PONG') {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(question));
    socket.once('data', (data) => {
      socket.destroy();
      done(data.toString().startsWith(answer));
    });
    socket.once('error', () => done(false));
  });
}

function fieldsOf(line) {
  try {
    const entry = JSON.parse(line);
    return { ...entry, ...entry.fields };
  } catch {
    return {};
  }
}

function isListening(line) {
  return fieldsOf(line).message === 'listening';
}
