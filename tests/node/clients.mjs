// Other Socket.IO clients than the official one of today, each with as much of its interface as a phone needs.
import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import { io as io3 } from 'socket.io-client-3';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
/** Where scripts/setup puts what is no npm package. */
const PYTHON = here('../../target/tools/socketio/bin/python');
const JARS = here('../../target/tools/socketio-java/');

/** Opens a socket as `io` does, by the name of its client. */
export const OPEN = { 4.8: io, 3.1: io3, python: remote('python-socketio', pythonPhones), java: remote('socket.io-client-java', javaPhones) };

/** The clients that this machine has, and why it lacks the others. */
export function others() {
  const missing = {
    python: existsSync(PYTHON) ? null : 'python-socketio is not installed, scripts/setup does it',
    java: existsSync(JARS) && readdirSync(JARS).length > 4 ? null : 'io.socket:socket.io-client:2.1.0 is not there, scripts/setup gets it by Maven',
  };
  return Object.keys(OPEN).filter((name) => name !== '4.8').map((name) => ({ name, missing: missing[name] ?? null }));
}

function pythonPhones() {
  return spawn(PYTHON, [here('clients/phone.py')], { stdio: ['pipe', 'pipe', 'inherit'], env: { PATH: process.env.PATH, PYTHONUTF8: '1' } });
}

function javaPhones() {
  return spawn('java', ['-XX:TieredStopAtLevel=1', '-cp', `${JARS}*`, here('clients/Phone.java')], { stdio: ['pipe', 'pipe', 'inherit'] });
}

/** Phones of one program, started with the first of them and ended with this process. */
function remote(name, start) {
  const sockets = new Map();
  let program;
  const tell = (message) => program.stdin.write(`${JSON.stringify(message)}\n`);
  return (url, options) => {
    if (!program) {
      program = start();
      process.on('exit', () => program.kill('SIGKILL'));
      program.on('exit', (code, signal) => {
        for (const socket of sockets.values()) socket.hear({ is: 'disconnect', reason: `${name} ended: ${signal ?? code}` });
      });
      createInterface({ input: program.stdout }).on('line', (line) => {
        const message = JSON.parse(line);
        sockets.get(message.phone)?.hear(message);
      });
    }
    const socket = new RemoteSocket(sockets.size + 1, tell);
    sockets.set(socket.phone, socket);
    tell({ phone: socket.phone, do: 'open', url, transports: options.transports, auth: options.auth });
    return socket;
  };
}

/** A socket that lives in another program. */
class RemoteSocket {
  active = true;
  connected = false;
  #events = new EventEmitter();
  #any = [];
  #acks = new Map();
  #early = [];
  #tell;

  constructor(phone, tell) {
    this.phone = phone;
    this.#tell = (message) => tell({ phone, ...message });
    const engine = Object.assign(new EventEmitter(), { transport: { name: undefined } });
    this.io = { engine, reconnection: () => this.#tell({ do: 'settle' }) };
  }

  on(event, listener) {
    this.#events.on(event, listener);
  }

  onAny(listener) {
    this.#any.push(listener);
  }

  emit(event, ...args) {
    const ack = typeof args.at(-1) === 'function' ? this.#acks.size + 1 : null;
    if (ack !== null) this.#acks.set(ack, args.pop());
    this.#tell({ do: 'emit', event, args, ack });
  }

  disconnect() {
    this.#tell({ do: 'close' });
  }

  hear(message) {
    // Some programs say that they are connected when they have heard more already.
    if (message.is === 'event' && !this.connected) this.#early.push(message);
    else this.#take(message);
  }

  #take({ is, event, args, answer, asked, ack, transport, reason, message, final }) {
    if (transport) this.io.engine.transport = { name: transport };
    switch (is) {
      case 'connect':
        this.connected = true;
        this.#events.emit('connect');
        return this.#early.splice(0).forEach((message) => this.hear(message));
      case 'upgrade':
        return this.io.engine.emit('upgrade');
      case 'event': {
        // Where the program answered by itself it says only that it was asked.
        const answered = (...given) => answer && this.#tell({ do: 'answer', answer, args: given });
        const all = answer || asked ? [...args, answered] : args;
        for (const listener of this.#any) listener(event, ...all);
        return this.#events.emit(event, ...all);
      }
      case 'ack':
        return this.#acks.get(ack)(...args);
      case 'connect_error':
        this.active = !final;
        return this.#events.emit('connect_error', new Error(message));
      default:
        this.connected = false;
        return this.#events.emit('disconnect', reason);
    }
  }
}
