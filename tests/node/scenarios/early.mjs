// Commands that come before their call is known, and calls to somebody who is not there.
import { RING_MS } from '../cluster.mjs';
import { Phone } from '../phone.mjs';

const SUCCESS = { success: true, message: 'Call initiated successfully' };
const OFFLINE = { success: false, error: 'User offline - FCM notification sent', useFcmFallback: true };

export const early = {
  async 'a reject before its initiate'(stage) {
    const [ana, bo] = await stage.pair();
    const call = Phone.call(ana, bo);
    await bo.fails('call:reject', call, 'call_not_found');
    bo.tolerate('call:reject:confirmed');
    ana.holds(await ana.ask('call:initiate', call.offer), { ...SUCCESS, callId: call.id }, 'ack of call:initiate');
    await ana.expect('call:rejected', { callId: call.id, reason: 'User declined' });
    ana.heardInOrder('ack of call:initiate', 'call:rejected');
  },

  async 'an accept before its initiate'(stage) {
    const [ana, bo] = await stage.pair();
    const call = Phone.call(ana, bo);
    await bo.fails('call:accept', call, 'call_not_found');
    ana.holds(await ana.ask('call:initiate', call.offer), { ...SUCCESS, callId: call.id }, 'ack of call:initiate');
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    ana.heardInOrder('ack of call:initiate', 'call:accepted');
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user });
  },

  async 'a cancel before its initiate'(stage) {
    const [ana, bo] = await stage.pair();
    const call = Phone.call(ana, bo);
    await ana.fails('call:cancel', call, 'call_not_found');
    ana.holds(await ana.ask('call:initiate', call.offer), { ...SUCCESS, callId: call.id }, 'ack of call:initiate');
  },

  async 'a verdict of a stranger before the initiate counts for nothing'(stage) {
    const [ana, bo] = await stage.pair();
    const eve = await stage.phone('eve', stage.b).connect();
    const call = Phone.call(ana, bo);
    await eve.fails('call:reject', call, 'call_not_found');
    eve.tolerate('call:reject:confirmed');
    call.ack = await ana.ask('call:initiate', call.offer);
    await bo.expectIncoming(call);
    await ana.does('call:cancel', call, 'ended');
    await bo.expect('call:cancelled', { callId: call.id });
  },

  async 'the callee is offline and comes inside the ring'(stage) {
    const ana = await stage.phone('ana', stage.a).connect();
    const bo = stage.phone('bo', stage.b);
    const call = await ana.dial(bo);
    ana.holds(call.ack, OFFLINE, 'ack of call:initiate');
    await bo.connect({ atOnce: true });
    const left = (value) => Number.isInteger(value) && value > 0 && value < RING_MS;
    bo.holds(bo.ready.call, {
      callId: call.id, role: 'callee', state: 'trying', peerId: ana.user, callType: 'VIDEO', expiresInMs: left,
    }, 'call of session:ready');
    await bo.expectIncoming(call, { expiresInMs: left });
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user });
  },

  async 'the callee is offline and the caller cancels'(stage) {
    const ana = await stage.phone('ana', stage.a).connect();
    const bo = stage.phone('bo', stage.b);
    const call = await ana.dial(bo);
    ana.holds(call.ack, OFFLINE, 'ack of call:initiate');
    ana.holds(await ana.ask('call:initiate', call.offer), call.ack, 'second ack of call:initiate');
    await ana.does('call:cancel', call, 'ended');
  },

  async 'the callee is offline and stays away'(stage) {
    const ana = await stage.phone('ana', stage.a).connect();
    const call = await ana.dial(stage.phone('bo', stage.b));
    ana.holds(call.ack, OFFLINE, 'ack of call:initiate');
    await ana.expect('call:timeout', { callId: call.id, reason: 'No answer' }, { within: RING_MS + 2000 });
  },
};
