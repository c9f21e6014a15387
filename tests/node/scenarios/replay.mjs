// What a session that connects is told of the call its user is in, or just was in.
export const replay = {
  async 'connecting without a call'(stage) {
    const ana = await stage.phone('ana', stage.a).connect();
    ana.holds(ana.ready, { call: undefined, ended: [] }, 'session:ready');
  },

  async 'the callee of a ringing call'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    const back = await stage.comesBack(bo);
    const left = (value) => Number.isInteger(value) && value > 0 && value <= call.incoming.payload.expiresInMs;
    back.holds(back.ready.call, snapshot(call, 'callee', 'trying', left), 'call of session:ready');
    await back.expectIncoming(call, { expiresInMs: left });
    await back.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    await ana.does('call:end', call, 'ended');
    await back.expect('call:ended', { callId: call.id, endedBy: ana.user });
  },

  async 'the caller of a ringing call'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    const back = await stage.comesBack(ana);
    back.holds(back.ready.call, snapshot(call, 'caller', 'trying', Number.isInteger), 'call of session:ready');
    await bo.does('call:reject', call, 'ended');
    await bo.expect('call:reject:confirmed', { callId: call.id });
    await back.expect('call:rejected', { callId: call.id, reason: 'User declined' });
  },

  async 'both parties of an active call'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id });
    const [anaBack, boBack] = await Promise.all([stage.comesBack(ana), stage.comesBack(bo)]);
    await anaBack.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    anaBack.holds(anaBack.ready.call, snapshot(call, 'caller', 'active'), 'call of session:ready');
    boBack.holds(boBack.ready.call, snapshot(call, 'callee', 'active'), 'call of session:ready');
    await boBack.does('call:end', call, 'ended');
    await anaBack.expect('call:ended', { callId: call.id, endedBy: bo.user });
  },

  async 'accepted while the caller was away'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await stage.goesOffline(ana);
    await bo.does('call:accept', call, 'active');
    const back = await stage.another(ana);
    await back.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    await back.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user });
  },

  async 'cancelled while the callee was away'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await stage.goesOffline(bo);
    await ana.does('call:cancel', call, 'ended');
    const back = await stage.another(bo);
    await back.expect('call:cancelled', { callId: call.id, reason: 'Caller ended call' });
    back.holds(back.ready, { call: undefined, ended: lists(call) }, 'session:ready');
  },

  async 'ended while the other was away'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id });
    await stage.goesOffline(bo);
    await ana.does('call:end', call, 'ended');
    const back = await stage.another(bo);
    await back.expect('call:ended', { callId: call.id, reason: 'Remote user ended call', endedBy: ana.user });
    back.holds(back.ready, { call: undefined, ended: lists(call) }, 'session:ready');
  },

  async 'rejected while the caller was away, told once'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await stage.goesOffline(ana);
    await bo.does('call:reject', call, 'ended');
    await bo.expect('call:reject:confirmed', { callId: call.id });
    const back = await stage.another(ana);
    await back.expect('call:rejected', { callId: call.id, reason: 'User declined' });
    const third = await stage.comesBack(back);
    third.holds(third.ready, { call: undefined, ended: lists(call) }, 'session:ready');
  },

  async 'rejected while the caller was there, not told again'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    await bo.does('call:reject', call, 'ended');
    await bo.expect('call:reject:confirmed', { callId: call.id });
    await ana.expect('call:rejected', { callId: call.id });
    const back = await stage.comesBack(ana);
    back.holds(back.ready, { call: undefined, ended: lists(call) }, 'session:ready');
  },
};

function snapshot(call, role, state, expiresInMs = () => true) {
  const peerId = (role === 'caller' ? call.callee : call.caller).user;
  return { callId: call.id, role, state, peerId, callType: call.offer.callType, expiresInMs };
}

function lists(call) {
  return (ended) => ended.some(({ callId }) => callId === call.id);
}
