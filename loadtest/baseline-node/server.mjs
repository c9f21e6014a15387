#!/usr/bin/env node
// One process of the cluster that `loadtest compare` measures this project against: socket.io with the Redis adapter,
// presence, calls and busy in Redis, a room for each user. Tuned as its documentation advises: no compression, no logging,
// the upgrade's request is let go. It says on which port it listens as our node does, so that the load generator starts
// both alike.
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

if (process.argv[2] === '--version') {
  console.log(`baseline-node on node ${process.version}`);
  process.exit(0);
}

const CALL_SECONDS = 4 * 3600;
const ENDED_SECONDS = 300;
const PRESENCE_SECONDS = 3 * 3600;

const prefix = process.env.REDIS_PREFIX ?? 'baseline';
const keys = {
  call: id => `${prefix}:call:${id}`,
  busy: user => `${prefix}:busy:${user}`,
  presence: user => `${prefix}:presence:${user}`,
};
const redis = createClient({
  url: process.env.REDIS_URL,
});
const subscriber = redis.duplicate();
await Promise.all([redis.connect(), subscriber.connect()]);

const http = createServer((request, response) => {
  response.writeHead(request.url === '/health' ? 200 : 404).end();
});
const io = new Server(http, {
  adapter: createAdapter(redis, subscriber, { key: prefix }),
  perMessageDeflate: false,
  httpCompression: false,
  pingInterval: 15_000,
  pingTimeout: 20_000,
  maxHttpBufferSize: 64 * 1024,
  serveClient: false,
});
io.engine.on('connection', raw => {
  raw.request = null;
});

const room = user => `user:${user}`;
const tell = (user, event, payload) => io.to(room(user)).emit(event, payload);
const over = call => !call.state || call.state === 'ended';

/** Who may, and from which state; answers the call or why not. */
async function load(id) {
  const call = await redis.hGetAll(keys.call(id));
  return call.caller ? call : null;
}

async function end(id, call, reason) {
  await redis
    .multi()
    .hSet(keys.call(id), { state: 'ended', reason, ended_at: Date.now() })
    .expire(keys.call(id), ENDED_SECONDS)
    .del([keys.busy(call.caller), keys.busy(call.callee)])
    .exec();
}

io.use((socket, next) => {
  const { userId, token } = socket.handshake.auth ?? {};
  if (!userId || !token) return next(new Error('AUTH_MISSING'));
  socket.data.user = String(userId);
  next();
});

io.on('connection', async socket => {
  const { user } = socket.data;
  socket.join(room(user));

  const on = (event, handle) =>
    socket.on(event, async (payload, ack) => {
      const answer = typeof ack === 'function' ? ack : () => {};
      try {
        if (typeof payload?.callId !== 'string') return answer({ success: false, error: 'callId is missing' });
        answer(await handle(payload, payload.callId));
      } catch {
        answer({ success: false, error: 'Service unavailable' });
      }
    });

  on('call:initiate', async (payload, id) => {
    const callee = String(payload.receiverId);
    const now = Date.now();
    const [own, others, sessions] = await redis
      .multi()
      .set(keys.busy(user), id, { NX: true, EX: CALL_SECONDS })
      .set(keys.busy(callee), id, { NX: true, EX: CALL_SECONDS })
      .sCard(keys.presence(callee))
      .hSet(keys.call(id), { caller: user, callee, type: payload.callType ?? 'AUDIO', state: 'ringing', at: now })
      .expire(keys.call(id), CALL_SECONDS)
      .exec();
    if (own === null || others === null) {
      const mine = [own !== null && keys.busy(user), others !== null && keys.busy(callee)].filter(Boolean);
      await redis.del([keys.call(id), ...mine]);
      return { success: false, error: 'User is busy', busy: true };
    }
    if (sessions === 0) return { success: false, error: 'User offline', useFcmFallback: true };
    const { channelName, agoraToken, agoraAppId, balanceTime } = payload;
    tell(callee, 'call:incoming', {
      callId: id,
      callerId: user,
      callerName: user,
      callType: payload.callType,
      channelName,
      agoraToken,
      agoraAppId,
      balanceTime,
      timestamp: now,
    });
    return { success: true, callId: id, message: 'Call initiated successfully' };
  });

  on('call:accept', async (_, id) => {
    const call = await load(id);
    if (!call || call.callee !== user || call.state !== 'ringing') return { success: false, error: 'Call is over' };
    await redis.hSet(keys.call(id), { state: 'active', accepted_at: Date.now() });
    tell(call.caller, 'call:accepted', { callId: id, timestamp: Date.now() });
    return { success: true, callId: id, state: 'active' };
  });

  on('call:reject', async (payload, id) => {
    const call = await load(id);
    if (!call || call.callee !== user || over(call)) return { success: false, error: 'Call is over' };
    await end(id, call, 'rejected');
    tell(call.caller, 'call:rejected', { callId: id, reason: payload.reason ?? 'declined', timestamp: Date.now() });
    socket.emit('call:reject:confirmed', { callId: id });
    return { success: true, callId: id, state: 'ended' };
  });

  on('call:cancel', async (payload, id) => {
    const call = await load(id);
    if (!call || call.caller !== user || over(call)) return { success: false, error: 'Call is over' };
    await end(id, call, 'cancelled');
    tell(call.callee, 'call:cancelled', { callId: id, reason: payload.reason ?? 'cancelled', timestamp: Date.now() });
    return { success: true, callId: id, state: 'ended' };
  });

  on('call:end', async (_, id) => {
    const call = await load(id);
    if (!call || ![call.caller, call.callee].includes(user) || over(call)) {
      return { success: false, error: 'Call is over' };
    }
    await end(id, call, 'hung_up');
    tell(call.caller === user ? call.callee : call.caller, 'call:ended', { callId: id, timestamp: Date.now() });
    return { success: true, callId: id, state: 'ended' };
  });

  socket.on('disconnect', () => {
    redis.sRem(keys.presence(user), socket.id).catch(() => {});
  });

  await redis
    .multi()
    .sAdd(keys.presence(user), socket.id)
    .expire(keys.presence(user), PRESENCE_SECONDS)
    .exec();
  socket.emit('session:ready', { sessionId: socket.id, serverTime: Date.now(), call: null, ended: [] });
});

http.listen(Number(process.env.PORT ?? 0), process.env.HOST ?? '127.0.0.1', 4096, () => {
  const { address, port } = http.address();
  const at = `${address}:${port}`;
  console.log(JSON.stringify({ message: 'listening', public: at, admin: at }));
});
