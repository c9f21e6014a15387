// Laravel's side: it talks to node B while both phones hang on node A.
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { RING_MS } from '../cluster.mjs';
import { nextUserId } from '../ids.mjs';
import { Phone } from '../phone.mjs';

const EMITTED = { success: true, emitted: true };
const DEFAULT_END = 'Remote user ended call';

/** These read counts of the whole cluster and must be alone with it. */
export const alone = {
  async 'counts and lists of the whole cluster'(stage) {
    const [ana, bo] = await stage.pair({ acks: true });
    const tablet = await stage.another(bo);
    const call = await ana.rings(bo, tablet);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id });
    await eventually('two users and one call', async () => (await bothHealthy(stage)).every(
      ({ connectedUsers, activeCalls }) => connectedUsers === 2 && activeCalls === 1,
    ));
    for (const node of [stage.a, stage.b]) {
      const list = await node.get('/api/connected-users');
      answers(list, 200, { count: 2, users: Array.isArray });
      const users = list.body.users.map((user) => user.userId ?? user).sort();
      if (!isDeepStrictEqual(users, [ana.user, bo.user].sort())) throw new Error(`users are ${JSON.stringify(list.body.users)}`);
    }
    await ana.does('call:end', call, 'ended');
    await Promise.all([bo, tablet].map((phone) => phone.expect('call:ended', { callId: call.id })));
    await stage.goesOffline(ana);
    await eventually('one user and no call', async () => (await bothHealthy(stage)).every(
      ({ connectedUsers, activeCalls }) => connectedUsers === 1 && activeCalls === 0,
    ));
    tablet.close();
    await stage.goesOffline(bo);
    await eventually('nobody', async () => (await bothHealthy(stage)).every(({ connectedUsers }) => connectedUsers === 0));
  },
};

export const http = {
  async 'HTTP: is a user online'(stage) {
    const ana = await stage.phone('ana', stage.a).connect();
    const online = (user) => stage.b.get(`/api/users/${user}/online`);
    const { body } = answers(await online(ana.user), 200, { userId: ana.user, isOnline: true, socketId: isText });
    if ([ana.socket.id, ana.socket.io.engine.id].includes(body.socketId)) {
      throw new Error('socketId is the transport\'s own session id');
    }
    const nobody = nextUserId();
    answers(await online(nobody), 200, { userId: nobody, isOnline: false, socketId: null });
    await stage.goesOffline(ana);
    answers(await online(ana.user), 200, { userId: ana.user, isOnline: false, socketId: null });
  },

  async 'HTTP: call-accepted disarms the ring timer'(stage) {
    const { ana, bo, call } = await bothOnNodeA(stage);
    const request = { callerId: ana.user, callId: call.id, receiverId: bo.user };
    answers(await stage.b.post('/api/emit/call-accepted', request), 200, EMITTED);
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    answers(await stage.b.post('/api/emit/call-accepted', request), 200, EMITTED);
    await bo.does('call:accept', call, 'active'); // the socket twin of the accept, late
    const rungOut = RING_MS - (performance.now() - call.dialledAt) + 500;
    await Promise.all([ana, bo].map((phone) => phone.nothingMore(rungOut)));
    await bo.does('call:end', call, 'ended');
    await ana.expect('call:ended', { callId: call.id, endedBy: bo.user, reason: DEFAULT_END });
  },

  async 'HTTP: call-accepted of a call not initiated yet'(stage) {
    const [ana, bo] = await stage.connect(stage.phone('ana', stage.a), stage.phone('bo', stage.a));
    const call = Phone.call(ana, bo);
    const request = { callerId: ana.user, callId: call.id, receiverId: bo.user };
    answers(await stage.b.post('/api/emit/call-accepted', request), 200, EMITTED);
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    ana.holds(await ana.ask('call:initiate', call.offer), { success: true, callId: call.id }, 'ack of call:initiate');
    await ana.repetition(call);
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user });
  },

  async 'HTTP: call-cancelled'(stage) {
    const { bo, call } = await bothOnNodeA(stage);
    const bare = call.id.replace('CALL_', '');
    answers(await stage.b.post('/api/emit/call-cancelled', { receiverId: bo.user, callId: bare }), 200, EMITTED);
    await bo.expect('call:cancelled', { callId: call.id, reason: 'Caller ended call' });
    await bo.fails('call:reject', call, 'invalid_state');
    bo.tolerate('call:reject:confirmed');
    const late = await stage.b.post('/api/emit/call-accepted', { callerId: call.caller.user, callId: bare, receiverId: bo.user });
    answers(late, 200, { success: true, emitted: false, reason: 'Call ended', state: 'ended' });
  },

  async 'HTTP: call-rejected'(stage) {
    const { ana, bo, call } = await bothOnNodeA(stage);
    const request = { callerId: ana.user, callId: call.id, receiverId: bo.user, reason: 'Declined by push' };
    answers(await stage.b.post('/api/emit/call-rejected', request), 200, EMITTED);
    await ana.expect('call:rejected', { callId: call.id, reason: 'Declined by push' });
  },

  async 'HTTP: call-ended, by one party and by nobody'(stage) {
    const { ana, bo, call } = await bothOnNodeA(stage);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id });
    answers(await stage.b.post('/api/emit/call-ended', { callId: call.id, endedBy: ana.user }), 200, EMITTED);
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user, reason: DEFAULT_END, durationMs: Number.isInteger });

    const second = await ana.rings(bo);
    await bo.does('call:accept', second, 'active');
    await ana.expect('call:accepted', { callId: second.id });
    answers(await stage.b.post('/api/emit/call-ended', { callId: second.id, reason: 'Out of coins' }), 200, EMITTED);
    const ended = { callId: second.id, endedBy: undefined, reason: 'Out of coins' };
    await Promise.all([ana, bo].map((phone) => phone.expect('call:ended', ended)));
  },

  async 'HTTP: verdicts of unknown calls reach the named user'(stage) {
    const [ana, bo] = await stage.connect(stage.phone('ana', stage.a), stage.phone('bo', stage.a));
    const [rejected, cancelled] = [Phone.call(ana, bo), Phone.call(ana, bo)];
    const reject = { callerId: ana.user, callId: rejected.id, receiverId: bo.user };
    answers(await stage.b.post('/api/emit/call-rejected', reject), 200, EMITTED);
    await ana.expect('call:rejected', { callId: rejected.id, reason: 'User declined' });
    answers(await stage.b.post('/api/emit/call-cancelled', { receiverId: bo.user, callId: cancelled.id, reason: 'Gone' }), 200, EMITTED);
    await bo.expect('call:cancelled', { callId: cancelled.id, reason: 'Gone' });
  },

  async 'HTTP: nobody there to be told'(stage) {
    const [callerId, receiverId] = [nextUserId(), nextUserId()];
    const nobody = (reason) => ({ success: true, emitted: false, reason });
    const callId = () => Phone.call({ user: callerId }, { user: receiverId }).id;
    const post = (path, body) => stage.b.post(`/api/emit/${path}`, { callId: callId(), ...body });
    answers(await post('call-cancelled', { receiverId }), 200, nobody('User not connected'));
    answers(await post('call-rejected', { callerId, receiverId }), 200, nobody('Caller not connected'));
    answers(await post('call-accepted', { callerId, receiverId }), 200, nobody('Caller not connected'));
  },

  async 'HTTP: 401 without the secret'(stage) {
    const { ana, bo, call } = await bothOnNodeA(stage);
    const body = { callerId: ana.user, receiverId: bo.user, callId: call.id };
    const refused = { error: 'Unauthorized' };
    const paths = ['call-accepted', 'call-cancelled', 'call-rejected', 'call-ended'];
    await Promise.all(paths.flatMap((path) => [null, '', 'wrong', 'conformance-secre'].map(async (secret) => (
      answers(await stage.b.post(`/api/emit/${path}`, body, { secret }), 401, refused)
    ))));
    const forwarded = { secret: null, headers: { 'X-Forwarded-For': '203.0.113.7' } };
    for (const path of [`/api/users/${ana.user}/online`, '/api/connected-users']) {
      answers(await stage.b.get(path, { secret: null }), 200, {}); // OPEN_QUERIES=private: loopback may ask
      answers(await stage.b.get(path, forwarded), 401, refused);
    }
    answers(await stage.b.get('/health', { secret: null }), 200, { status: 'OK' });
    await ana.does('call:cancel', call, 'ended');
    await bo.expect('call:cancelled', { callId: call.id });
  },

  async 'HTTP: 400 for what cannot be read'(stage) {
    const wrong = { error: isText, code: isText };
    for (const path of ['call-accepted', 'call-cancelled', 'call-rejected', 'call-ended']) {
      const bodies = [
        '{"callId":', '[]', 'null', {}, { callerId: 'USR_1', receiverId: 'USR_2' },
        { callId: 7, callerId: [], receiverId: {} },
      ];
      for (const body of bodies) answers(await stage.b.post(`/api/emit/${path}`, body), 400, wrong);
    }
  },
};

async function bothOnNodeA(stage) {
  const [ana, bo] = await stage.connect(stage.phone('ana', stage.a), stage.phone('bo', stage.a));
  return { ana, bo, call: await ana.rings(bo) };
}

async function bothHealthy(stage) {
  const answered = await Promise.all([stage.a, stage.b].map((node) => node.get('/health')));
  return answered.map((answer) => answers(answer, 200, {
    status: 'OK', connectedUsers: Number.isInteger, activeCalls: Number.isInteger, timestamp: (time) => new Date(time) > 0,
  }).body);
}

function answers(answer, status, fields) {
  const right = answer.status === status && Object.entries(fields).every(([key, wanted]) => (
    typeof wanted === 'function' ? wanted(answer.body[key]) : isDeepStrictEqual(answer.body[key], wanted)
  ));
  if (!right) {
    const wanted = Object.entries(fields).map(([key, value]) => `${key}: ${value}`).join(', ');
    throw new Error(`HTTP answer should be ${status} {${wanted}}, is ${answer.status} ${JSON.stringify(answer.body)}`);
  }
  return answer;
}

/** Counts may be a second old. */
async function eventually(what, condition, within = 3000) {
  const deadline = Date.now() + within;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`/health did not come to show ${what} within ${within} ms`);
    await delay(50);
  }
}

function isText(value) {
  return typeof value === 'string' && value !== '';
}
