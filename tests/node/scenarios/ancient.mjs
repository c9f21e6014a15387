// A client of a protocol that is not spoken.
import io2 from 'socket.io-client-2';
import { MODES } from '../phone.mjs';
import { nextUserId } from '../ids.mjs';

const WAIT_MS = 5000;
const TRIES = 3;

export const ancient = {
  /** It is told so at each try, and gives up when its tries are used up: nothing hangs, nothing half connects. */
  async 'a client of version 2 is refused'(stage) {
    const user = nextUserId();
    const socket = io2(stage.a.url, {
      ...MODES[stage.mode], query: { token: `token-of-${user}`, userId: user }, forceNew: true, timeout: WAIT_MS,
      reconnectionAttempts: TRIES, reconnectionDelay: 10, reconnectionDelayMax: 20,
    });
    const errors = [];
    try {
      await new Promise((done, failed) => {
        const timer = setTimeout(() => failed(new Error(`it was told nothing: ${errors}`)), WAIT_MS);
        const end = (work) => (clearTimeout(timer), work());
        for (const event of ['connect', 'message', 'session:ready']) socket.on(event, () => end(() => failed(new Error(`it heard ${event}`))));
        socket.on('connect_error', (error) => errors.push(error.type));
        socket.on('reconnect_failed', () => end(done));
      });
    } finally {
      socket.close();
    }
    if (errors.length !== TRIES + 1 || errors.some((type) => type !== 'TransportError')) throw new Error(`it was told ${errors}`);
    const online = await stage.b.get(`/api/users/${user}/online`);
    if (online.body.isOnline !== false) throw new Error('it counts as online');
    // What stands behind that, for whoever looks at the wire.
    const answer = await fetch(`${stage.a.url}/socket.io/?EIO=3&transport=polling`);
    const text = await answer.text();
    if (answer.status !== 400 || JSON.parse(text).code !== '5') throw new Error(`${answer.status} ${text}`);
  },
};
