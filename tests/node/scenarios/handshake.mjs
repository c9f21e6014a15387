// Who may connect.
import { io } from 'socket.io-client';
import { MODES } from '../phone.mjs';
import { nextUserId } from '../ids.mjs';

const WAIT_MS = 5000;

export const handshake = {
  async 'a missing token or userId is refused'(stage) {
    const userId = nextUserId();
    const incomplete = [
      undefined, {}, { token: 'token' }, { userId }, { token: '', userId }, { token: 'token', userId: '' },
      { token: null, userId }, { token: 'token', userId: null },
    ];
    await Promise.all(incomplete.map(async (auth, i) => {
      const outcome = await connect(i % 2 ? stage.a : stage.b, stage.mode, auth);
      if (outcome !== 'Authentication required') throw new Error(`${JSON.stringify(auth)}: ${outcome}`);
    }));
  },

  async 'credentials of the wrong type are refused'(stage) {
    const texts = ['Authentication required', 'Invalid token', 'Authentication failed'];
    const userId = nextUserId();
    const wrong = [
      { token: {}, userId: [] }, { token: 7, userId }, { token: 'token', userId: 'a b' },
      { token: 'token', userId: 'x'.repeat(65) },
    ];
    const noCredentials = [7, 'text', [], [['deep']]];
    await Promise.all([...wrong, ...noCredentials].map(async (auth) => {
      const outcome = await connect(stage.a, stage.mode, auth);
      // What is no object at all may also be answered as a broken packet, by closing the transport.
      const right = texts.includes(outcome) || (noCredentials.includes(auth) && outcome.startsWith('closed'));
      if (!right) throw new Error(`${JSON.stringify(auth)}: ${outcome}`);
    }));
  },

  async 'a doubled USR_ prefix is one prefix'(stage) {
    const bo = await stage.phone('bo', stage.b).connect();
    const ana = stage.phone('ana', stage.a);
    const single = ana.user;
    ana.user = `USR_${single}`;
    await ana.connect();
    ana.user = single;
    const call = await ana.rings(bo);
    await ana.does('call:cancel', call, 'ended');
    await bo.expect('call:cancelled', { callId: call.id });
  },

  async 'extra credentials are ignored'(stage) {
    const auth = { token: 'token', userId: nextUserId(), deviceId: 'handset', acks: false, version: '3.2', more: { any: [1] } };
    const outcome = await connect(stage.a, stage.mode, auth);
    if (outcome !== 'connected') throw new Error(outcome);
  },
};

/** `connected`, the text of CONNECT_ERROR, or what else happened. */
async function connect(node, mode, auth) {
  const socket = io(node.url, { ...MODES[mode], auth, forceNew: true, timeout: WAIT_MS });
  try {
    return await new Promise((done) => {
      const timer = setTimeout(done, WAIT_MS, 'no answer');
      socket.on('connect', () => (clearTimeout(timer), done('connected')));
      socket.on('connect_error', (error) => {
        if (!socket.active) clearTimeout(timer), done(error.message);
      });
      // A refusal closes the transport too, just before it is reported.
      socket.io.on('close', (reason) => setImmediate(() => (clearTimeout(timer), done(`closed: ${reason}`))));
    });
  } finally {
    socket.disconnect();
  }
}
