// Official clients in pairs that complete a call, through whatever address they are given.
import { createRequire } from 'node:module';

const { io } = createRequire(new URL('../node/package.json', import.meta.url))('socket.io-client');

const PATIENCE_MS = 15_000;
export const MODES = {
  polling: { transports: ['polling'], upgrade: false },
  upgrade: { transports: ['polling', 'websocket'] },
  websocket: { transports: ['websocket'] },
};

let count = 0;

/** `pairs` calls for each mode, some at a time; resolves with the errors. */
export async function callThrough(address, pairs, modes = Object.keys(MODES)) {
  const work = modes.flatMap((mode) => Array(pairs).fill(mode));
  const errors = [];
  const worker = async () => {
    for (let mode = work.pop(); mode; mode = work.pop()) {
      await call(address, address, mode).catch((error) => errors.push(new Error(`${mode}: ${error.message}`)));
    }
  };
  await Promise.all(Array.from({ length: 6 }, worker));
  return errors;
}

/** Ana rings Bo; how it ends: `end` by Bo after his accept, `reject`, `cancel`, or `timeout`. */
export async function call(anas, bos, mode, ending = 'end') {
  const name = `${process.pid}_${(count += 1)}`;
  const phones = [open(anas, mode, `USR_ana_${name}`), open(bos, mode, `USR_bo_${name}`)];
  try {
    const [ana, bo] = await Promise.all(phones);
    const callId = `CALL_${name}`;
    const incoming = heard(bo, 'call:incoming');
    bo.on('call:incoming', (_, confirm) => confirm());
    const accepted = heard(ana, 'call:accepted');
    const ended = heard(ana, 'call:ended');
    const other = { reject: [ana, 'call:rejected'], cancel: [bo, 'call:cancelled'], timeout: [ana, 'call:timeout'] }[ending];
    const over = other && heard(...other);
    const offer = { receiverId: `USR_bo_${name}`, callId, callType: 'AUDIO', channelName: 'c', agoraToken: '' };
    const ack = await ana.timeout(PATIENCE_MS).emitWithAck('call:initiate', offer);
    if (!ack.success) throw new Error(`initiate: ${JSON.stringify(ack)}`);
    await incoming;
    if (ending === 'reject') await say(bo, 'call:reject', callId);
    if (ending === 'cancel') await say(ana, 'call:cancel', callId);
    if (over) return void (await over);
    await say(bo, 'call:accept', callId);
    await accepted;
    await say(bo, 'call:end', callId);
    await ended;
  } finally {
    for (const result of await Promise.allSettled(phones)) result.value?.disconnect();
  }
}

async function say(phone, event, callId) {
  const ack = await phone.timeout(PATIENCE_MS).emitWithAck(event, { callId });
  if (!ack.success) throw new Error(`${event}: ${JSON.stringify(ack)}`);
}

/** One connection, at the first try; upgraded where the mode upgrades. */
export function open(address, mode, userId, more = {}) {
  const auth = { token: `token-of-${userId}`, userId, acks: true };
  const socket = io(address, { ...MODES[mode], auth, forceNew: true, reconnection: false, rejectUnauthorized: false, ...more });
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`${userId} did not connect`)), PATIENCE_MS);
    socket.on('connect_error', (error) => fail(new Error(`${userId}: ${error.message} ${error.context?.status ?? ''}`)));
    socket.once('session:ready', () => {
      clearTimeout(timer);
      const { engine } = socket.io;
      if (mode !== 'upgrade' || engine.transport.name === 'websocket') done(socket);
      else engine.once('upgrade', () => done(socket));
    });
  });
}

const phoneOf = (socket) => `${socket.auth.userId} on ${socket.io.uri} by ${socket.io.engine?.transport?.name}`;

export function heard(socket, event) {
  const promise = new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`${phoneOf(socket)}: no ${event}`)), PATIENCE_MS);
    socket.once(event, (payload) => (clearTimeout(timer), done(payload)));
    socket.once('disconnect', (reason) => fail(new Error(`disconnected while waiting for ${event}: ${reason}`)));
  });
  // Its failure is found where it is awaited, or after another's.
  promise.catch(() => {});
  return promise;
}
