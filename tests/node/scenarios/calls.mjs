// One caller, one callee, one phone each, on different nodes.
import { RING_MS } from '../cluster.mjs';
import { Phone } from '../phone.mjs';

/** An accepted audio call. */
async function talk(ana, bo) {
  const call = await ana.dial(bo, { callType: 'AUDIO' });
  ana.holds(call.ack, { success: true, callId: call.id }, 'ack of call:initiate');
  call.incoming = await bo.expectIncoming(call);
  await ana.expect('call:ringing', { callId: call.id });
  await bo.does('call:accept', call, 'active');
  await ana.expect('call:accepted', { callId: call.id });
  return call;
}

export const ENDED = { reason: 'Remote user ended call', durationMs: Number.isInteger };

export const calls = {
  async 'accept, the caller ends'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user, ...ENDED });
  },

  async 'accept, the callee ends'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    await bo.does('call:end', call, 'ended');
    await ana.expect('call:ended', { callId: call.id, endedBy: bo.user, ...ENDED });
  },

  async 'reject'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:reject', call, 'ended');
    await bo.expect('call:reject:confirmed', { callId: call.id });
    await ana.expect('call:rejected', { callId: call.id, reason: 'User declined' });
  },

  async 'reject, with words of its own'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:reject', call, 'ended', { reason: 'In a meeting, später' });
    await bo.expect('call:reject:confirmed', { callId: call.id });
    await ana.expect('call:rejected', { callId: call.id, reason: 'In a meeting, später' });
  },

  async 'cancel'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await ana.does('call:cancel', call, 'ended');
    await bo.expect('call:cancelled', { callId: call.id, reason: 'Caller ended call' });
  },

  async 'cancel and reject, null and empty reasons count as missing'(stage) {
    const [ana, bo] = await stage.pair();
    const first = await ana.rings(bo);
    await ana.does('call:cancel', first, 'ended', { reason: null });
    await bo.expect('call:cancelled', { callId: first.id, reason: 'Caller ended call' });
    const second = await ana.rings(bo);
    await bo.does('call:reject', second, 'ended', { reason: '' });
    await bo.expect('call:reject:confirmed', { callId: second.id });
    await ana.expect('call:rejected', { callId: second.id, reason: 'User declined' });
  },

  async 'nobody asks for an ack'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    bo.tell('call:accept', { callId: call.id });
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    ana.tell('call:end', { callId: call.id });
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user, ...ENDED });
  },

  async 'ring timeout'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    const left = call.incoming.payload.expiresInMs;
    if (left > RING_MS || left < RING_MS / 2) throw new Error(`call:incoming said ${left} ms of ${RING_MS}`);
    const [timeout] = await Promise.all([
      ana.expect('call:timeout', { callId: call.id, reason: 'No answer' }, { within: RING_MS + 2000 }),
      bo.expect('call:cancelled', { callId: call.id, reason: 'Timeout' }, { within: RING_MS + 2000 }),
    ]);
    const rang = timeout.at - call.dialledAt;
    if (rang < RING_MS - 200) throw new Error(`rang only ${rang.toFixed(0)} ms`);
    await bo.fails('call:reject', call, 'invalid_state');
    bo.tolerate('call:reject:confirmed');
  },

  async 'the offer reaches the callee whole'(stage) {
    const [ana, bo] = await stage.pair();
    const extra = { agoraAppId: 'app', balanceTime: '12:30', coins: 7.5, gift: false, nested: { list: [1, 'two'] } };
    const forged = { callerId: 'USR_forged', callerName: 'Forged', timestamp: 1, expiresInMs: 1 };
    const call = await ana.dial(bo, { ...extra, ...forged, nothing: null, callType: 'audio', agoraToken: 'token/+=' });
    ana.holds(call.ack, { success: true, callId: call.id, message: 'Call initiated successfully' }, 'ack of call:initiate');
    const notForged = (key) => (value) => Number.isInteger(value) && value !== forged[key];
    await bo.expectIncoming(call, {
      callerId: ana.user, callerName: ana.user, nothing: undefined,
      timestamp: notForged('timestamp'), expiresInMs: notForged('expiresInMs'),
    });
    await ana.does('call:cancel', call, 'ended');
    await bo.expect('call:cancelled', { callId: call.id });
  },

  async 'CALL_ prefix, initiated with it'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    const bare = call.id.replace('CALL_', '');
    bo.holds(await bo.ask('call:accept', { callId: bare }), { success: true, state: 'active' }, 'ack of call:accept');
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    ana.holds(await ana.ask('call:end', { callId: bare }), { success: true, state: 'ended' }, 'ack of call:end');
    await bo.expect('call:ended', { callId: call.id });
  },

  async 'CALL_ prefix, initiated without it'(stage) {
    const [ana, bo] = await stage.pair();
    const bare = Phone.call(ana, bo).id.replace('CALL_', '');
    const call = await ana.dial(bo, { callId: bare });
    ana.holds(call.ack, { success: true, callId: bare }, 'ack of call:initiate');
    await bo.expectIncoming(call);
    bo.holds(await bo.ask('call:reject', { callId: `CALL_${bare}` }), { success: true, state: 'ended' }, 'ack of call:reject');
    await bo.expect('call:reject:confirmed', { callId: (id) => [bare, `CALL_${bare}`].includes(id) });
    await ana.expect('call:rejected', { callId: bare, reason: 'User declined' });
  },

  async 'call:ringing, by the ack of call:incoming'(stage) {
    for (const acks of [true, 'true']) {
      const [ana, bo] = await stage.pair({}, { acks });
      const call = await ana.rings(bo); // sees call:ringing, because Bo promised acks
      await bo.does('call:ringing', call, 'ringing');
      await bo.does('call:accept', call, 'active');
      await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
      await ana.does('call:end', call, 'ended');
      await bo.expect('call:ended', { callId: call.id, endedBy: ana.user, ...ENDED });
    }
  },

  async 'call:ringing, said by a phone without acks'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:ringing', call, 'ringing');
    await ana.expect('call:ringing', { callId: call.id });
    await bo.does('call:ringing', call, 'ringing');
    await ana.fails('call:ringing', call, 'not_a_participant');
    await ana.does('call:cancel', call, 'ended');
    await bo.expect('call:cancelled', { callId: call.id });
  },

  async 'call:accepted comes again after two seconds'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id });
    const after = await ana.repetition(call);
    if (after < 1500 || after > 3500) throw new Error(`call:accepted was repeated after ${after.toFixed(0)} ms`);
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id });
  },

  async 'call:accepted comes once to a phone with acks'(stage) {
    const [ana, bo] = await stage.pair({ acks: true });
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id });
    await ana.nothingMore();
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id });
  },

  async 'a cancel meets an accept'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    const accepted = await ana.expect('call:accepted', { callId: call.id });
    await ana.does('call:cancel', call, 'ended');
    // The deployed app has no screen that listens in the first 8 s after its accept.
    const ended = await bo.expect('call:ended', { callId: call.id, endedBy: ana.user, ...ENDED }, { within: 10_000 });
    const after = ended.at - accepted.at;
    if (after < 7000) throw new Error(`call:ended came ${after.toFixed(0)} ms after the accept, before Bo can hear it`);
  },

  async 'a cancel meets an accept of a phone with acks'(stage) {
    const [ana, bo] = await stage.pair({}, { acks: true });
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id });
    await ana.does('call:cancel', call, 'ended');
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user, ...ENDED });
  },

  async 'an accept that lost'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await ana.does('call:cancel', call, 'ended');
    await bo.expect('call:cancelled', { callId: call.id });
    const accepted = performance.now();
    await bo.fails('call:accept', call, 'invalid_state');
    const ended = await bo.expect('call:ended', { callId: call.id, reason: 'Call ended', endedBy: undefined }, { within: 10_000 });
    const after = ended.at - accepted;
    if (after < 7000) throw new Error(`call:ended came ${after.toFixed(0)} ms after the accept, before Bo can hear it`);
  },

  async 'an accept that lost, of a phone with acks'(stage) {
    const [ana, bo] = await stage.pair({}, { acks: true });
    const call = await ana.rings(bo);
    await ana.does('call:cancel', call, 'ended');
    await bo.expect('call:cancelled', { callId: call.id });
    await bo.fails('call:accept', call, 'invalid_state');
    await bo.expect('call:ended', { callId: call.id, reason: 'Call ended', endedBy: undefined });
  },

  async 'the callee cancels or rejects what he accepted'(stage) {
    for (const event of ['call:cancel', 'call:reject']) {
      const [ana, bo] = await stage.pair();
      const call = await ana.rings(bo);
      await bo.fails('call:cancel', call, 'not_a_participant');
      await bo.does('call:accept', call, 'active');
      await ana.expect('call:accepted', { callId: call.id });
      await bo.does(event, call, 'ended');
      await ana.expect('call:ended', { callId: call.id, endedBy: bo.user, ...ENDED });
      // Deployed apps wait for this word after any call:reject.
      if (event === 'call:reject') await bo.expect('call:reject:confirmed', { callId: call.id });
    }
  },

  async 'an end while it rings'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await ana.does('call:end', call, 'ended');
    await bo.expectAll(
      ['call:ended', { callId: call.id, endedBy: ana.user, reason: 'Remote user ended call' }],
      ['call:cancelled', { callId: call.id }],
    );
  },

  async 'repeats are answered like the first and told to nobody'(stage) {
    const [ana, bo] = await stage.pair();
    const twice = async (phone, event, payload) => {
      const [first, second] = [await phone.ask(event, payload), await phone.ask(event, payload)];
      phone.holds(first, { success: true }, `ack of ${event}`);
      phone.holds(second, first, `second ack of ${event}`);
    };
    const ended = await ana.rings(bo);
    ana.holds(await ana.ask('call:initiate', ended.offer), ended.ack, 'second ack of call:initiate');
    await twice(bo, 'call:accept', { callId: ended.id });
    await ana.expect('call:accepted', { callId: ended.id });
    await twice(ana, 'call:end', { callId: ended.id });
    await bo.expect('call:ended', { callId: ended.id });
    await ana.fails('call:initiate', ended, 'invalid_state', ended.offer);

    const cancelled = await ana.rings(bo);
    await twice(ana, 'call:cancel', { callId: cancelled.id });
    await bo.expect('call:cancelled', { callId: cancelled.id });

    const rejected = await ana.rings(bo);
    await twice(bo, 'call:reject', { callId: rejected.id });
    await bo.expect('call:reject:confirmed', { callId: rejected.id });
    bo.tolerate('call:reject:confirmed'); // it is the answer to call:reject, so a second one is right too
    await ana.expect('call:rejected', { callId: rejected.id });
  },

  async 'an audio call becomes a video call, under each name of the request'(stage) {
    const [ana, bo] = await stage.pair({ acks: true }, { acks: true });
    for (const event of ['call:upgrade', 'call:switchToVideo', 'call:switch_to_video']) {
      const call = await talk(ana, bo);
      const request = { callId: call.id, receiverId: bo.user, senderId: ana.user, timestamp: Date.now() };
      ana.holds(await ana.ask(event, request), { success: true, callId: call.id }, `ack of ${event}`);
      await bo.expect('call:upgrade:request', { callId: call.id, senderId: ana.user });
      const response = { callId: call.id, accepted: true, timestamp: Date.now() };
      bo.holds(await bo.ask('call:upgrade:response', response), { success: true, callId: call.id }, 'ack of call:upgrade:response');
      await ana.expect('call:upgrade:response', { callId: call.id, accepted: true });
      await bo.does('call:downgrade', call, 'active');
      await ana.expect('call:downgraded', { callId: call.id, senderId: bo.user });
      await ana.does('call:end', call, 'ended');
      await bo.expect('call:ended', { callId: call.id });
    }
  },

  async 'a request for video is declined, and answered by the end of the call'(stage) {
    const [ana, bo] = await stage.pair({ acks: true }, { acks: true });
    const call = await talk(ana, bo);
    await ana.does('call:upgrade', call, 'active');
    await bo.expect('call:upgrade:request', { callId: call.id });
    const no = { callId: call.id, accepted: false, reason: 'Not now' };
    bo.holds(await bo.ask('call:upgrade:response', no), { success: true, callId: call.id }, 'ack of call:upgrade:response');
    await ana.expect('call:upgrade:response', { callId: call.id, accepted: false, reason: 'Not now' });
    await bo.does('call:upgrade', call, 'active');
    await ana.expect('call:upgrade:request', { callId: call.id });
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:upgrade:response', { callId: call.id, accepted: false, reason: 'Call ended' });
    await bo.expect('call:ended', { callId: call.id });
    await ana.fails('call:upgrade', call, 'invalid_state');
  },

  'messages reach the other side in order, and the ack says to whom': async (stage) => {
    const [ana, bo] = await stage.pair({}, { acks: true });
    const call = await talk(ana, bo);
    let last = 0;
    for (const messageId of ['m1', 'm2', 'm3']) {
      const said = { callId: call.id, messageId, data: { type: 'chat', text: messageId }, keep: messageId !== 'm1' };
      const ack = await ana.ask('call:message', said);
      ana.holds(ack, { success: true, callId: call.id, state: 'active' }, 'ack of call:message');
      if (ack.handedTo?.[0]?.userId !== bo.user || ack.handedTo[0].devices !== 1) throw new Error(`handed to ${JSON.stringify(ack)}`);
      if (!(ack.order > last)) throw new Error(`order ${ack.order} after ${last}`);
      last = ack.order;
      await bo.expect('call:message', { callId: call.id, senderId: ana.user, messageId, order: last });
      ana.holds(await ana.ask('call:message', said), { success: true, order: last, repeat: true }, 'ack of a repeat');
    }
    await bo.does('call:message', call, 'active', { data: { type: 'typing', on: true } });
    await ana.expect('call:message', { callId: call.id, senderId: bo.user });
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id });
    await bo.fails('call:message', call, 'invalid_state', { data: 1 });
  },
};
