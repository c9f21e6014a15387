// Two calls that want one line.
const BUSY = { success: false, error: 'User is busy', busy: true };

export const contention = {
  async 'busy, for the callee of an active call'(stage) {
    const { ana, bo, call } = await talking(stage);
    await isBusy(await stage.phone('cy', stage.a).connect(), bo);
    await hangUp(ana, bo, call);
  },

  async 'busy, for the caller of an active call'(stage) {
    const { ana, bo, call } = await talking(stage);
    await isBusy(await stage.phone('cy', stage.b).connect(), ana);
    await hangUp(ana, bo, call);
  },

  async 'busy, for both parties of a ringing call'(stage) {
    const [ana, bo] = await stage.pair();
    const [cy, dee] = await stage.connect(stage.phone('cy', stage.a), stage.phone('dee', stage.b));
    const call = await ana.rings(bo);
    await isBusy(cy, bo);
    await isBusy(dee, ana);
    await bo.does('call:reject', call, 'ended');
    await bo.expect('call:reject:confirmed', { callId: call.id });
    await ana.expect('call:rejected', { callId: call.id });
  },

  async 'free again once the call is over'(stage) {
    const [ana, bo] = await stage.pair();
    const cy = await stage.phone('cy', stage.b).connect();
    const first = await ana.rings(bo);
    await ana.does('call:cancel', first, 'ended');
    await bo.expect('call:cancelled', { callId: first.id });
    const second = await cy.rings(ana);
    await cy.does('call:cancel', second, 'ended');
    await ana.expect('call:cancelled', { callId: second.id });
  },

  async 'glare'(stage) {
    const [ana, bo] = await stage.pair();
    const call = await ana.rings(bo);
    const back = await bo.dial(ana);
    bo.holds(back.ack, { ...BUSY, ringingCallId: call.id }, 'ack of call:initiate');
    await bo.expect('call:busy', { callId: back.id });
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    await hangUp(ana, bo, call);
  },

  async 'glare in the same moment'(stage) {
    const [ana, bo] = await stage.pair();
    const calls = await Promise.all([ana.dial(bo), bo.dial(ana)]);
    const winner = calls.find(({ ack }) => ack.success);
    const loser = calls.find(({ ack }) => !ack.success);
    if (!winner || !loser) throw new Error(`one of two must win: ${JSON.stringify(calls.map(({ ack }) => ack))}`);
    const { caller, callee } = winner;
    callee.holds(loser.ack, { ...BUSY, ringingCallId: winner.id }, 'ack of call:initiate');
    await callee.expectAll(['call:busy', { callId: loser.id }], ['call:incoming', { callId: winner.id }]);
    await caller.does('call:cancel', winner, 'ended');
    await callee.expect('call:cancelled', { callId: winner.id });
  },

  async 'a caller\'s newer call replaces his older one'(stage) {
    const [ana, bo] = await stage.pair();
    const cy = await stage.phone('cy', stage.b).connect();
    const older = await ana.rings(bo);
    const newer = await ana.rings(cy);
    await bo.expect('call:cancelled', { callId: older.id, reason: 'Caller ended call' });
    await cy.does('call:reject', newer, 'ended');
    await cy.expect('call:reject:confirmed', { callId: newer.id });
    await ana.expect('call:rejected', { callId: newer.id });
  },

  async 'who is being rung and dials somebody else'(stage) {
    const [ana, bo] = await stage.pair();
    const cy = await stage.phone('cy', stage.a).connect();
    const rung = await ana.rings(bo);
    const dialled = await bo.dial(cy);
    bo.holds(dialled.ack, { success: true, callId: dialled.id }, 'ack of call:initiate');
    await cy.expectIncoming(dialled);
    await ana.expect('call:busy', { callId: rung.id });
    await bo.expect('call:cancelled', { callId: rung.id });
    await bo.does('call:cancel', dialled, 'ended');
    await cy.expect('call:cancelled', { callId: dialled.id });
  },

  async 'a party to an active call dials from the same phone'(stage) {
    const { ana, bo, call } = await talking(stage);
    const cy = await stage.phone('cy', stage.b).connect();
    const next = await ana.rings(cy);
    await bo.expect('call:ended', { callId: call.id, reason: 'Remote user ended call', endedBy: ana.user });
    await ana.does('call:cancel', next, 'ended');
    await cy.expect('call:cancelled', { callId: next.id });
  },

  async 'a party to an active call dials from another phone'(stage) {
    const [ana, bo] = await stage.pair({ deviceId: 'handset' });
    const tablet = await stage.phone('anas tablet', stage.b, { user: ana.user, deviceId: 'tablet' }).connect();
    const cy = await stage.phone('cy', stage.a).connect();
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    await Promise.all([ana, tablet].map((phone) => phone.expect('call:accepted', { callId: call.id })));
    const refused = await tablet.dial(cy);
    tablet.holds(refused.ack, BUSY, 'ack of call:initiate');
    await tablet.expect('call:busy', { callId: refused.id });
    await hangUp(ana, bo, call);
  },

  async 'nobody can call himself'(stage) {
    const ana = await stage.phone('ana', stage.a).connect();
    const { ack } = await ana.dial(ana);
    ana.holds(ack, { success: false, code: 'invalid_payload' }, 'ack of call:initiate');
  },
};

async function talking(stage) {
  const [ana, bo] = await stage.pair();
  const call = await ana.rings(bo);
  await bo.does('call:accept', call, 'active');
  await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
  return { ana, bo, call };
}

async function isBusy(cy, phone) {
  const refused = await cy.dial(phone);
  cy.holds(refused.ack, BUSY, 'ack of call:initiate');
  await cy.expect('call:busy', { callId: refused.id });
  cy.heardInOrder('ack of call:initiate', 'call:busy');
  const again = await cy.fails('call:initiate', refused, 'invalid_state', refused.offer);
  cy.holds(again, { state: 'ended' }, 'second ack of call:initiate');
}

async function hangUp(ana, bo, call) {
  await ana.does('call:end', call, 'ended');
  await bo.expect('call:ended', { callId: call.id, endedBy: ana.user });
}
