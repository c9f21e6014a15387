// Users with several phones, and phones with several sockets.
const handset = { deviceId: 'handset' };

export const devices = {
  async 'one device accepts, the other is told'(stage) {
    const { ana, bo, tablet, call } = await bosPhonesRing(stage);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    await tablet.expect('call:cancelled', { callId: call.id, reason: 'Answered elsewhere' });
    const refused = await tablet.ask('call:accept', { callId: call.id });
    tablet.holds(refused, { success: false }, 'ack of call:accept');
    tablet.tolerate('call:cancelled'); // it has been told, and may be told once more because it asked
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user });
  },

  async 'two devices accept in the same moment'(stage) {
    const { ana, bo, tablet, call } = await bosPhonesRing(stage);
    const acks = await Promise.all([bo, tablet].map((phone) => phone.ask('call:accept', { callId: call.id })));
    const [winner, loser] = acks[0].success ? [bo, tablet] : [tablet, bo];
    if (acks[0].success === acks[1].success) throw new Error(`one of two must win: ${JSON.stringify(acks)}`);
    await loser.expect('call:cancelled', { callId: call.id, reason: 'Answered elsewhere' });
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    await ana.does('call:end', call, 'ended');
    await winner.expect('call:ended', { callId: call.id, endedBy: ana.user });
  },

  async 'one device rejects, the other is told'(stage) {
    const { ana, bo, tablet, call } = await bosPhonesRing(stage);
    await tablet.does('call:reject', call, 'ended');
    await tablet.expect('call:reject:confirmed', { callId: call.id });
    await bo.expect('call:cancelled', { callId: call.id, reason: 'Declined elsewhere' });
    await ana.expect('call:rejected', { callId: call.id, reason: 'User declined' });
  },

  async 'a cancel reaches every device'(stage) {
    const { ana, bo, tablet, call } = await bosPhonesRing(stage);
    await ana.does('call:cancel', call, 'ended');
    const cancelled = { callId: call.id, reason: 'Caller ended call' };
    await Promise.all([bo, tablet].map((phone) => phone.expect('call:cancelled', cancelled)));
  },

  async 'every device of the caller hears of the accept and of the reject'(stage) {
    const [ana, bo] = await stage.pair(handset);
    const tablet = await stage.phone('anas tablet', stage.b, { user: ana.user, deviceId: 'tablet' }).connect();
    const everywhere = (event, fields) => Promise.all([ana, tablet].map((phone) => phone.expect(event, fields)));
    const rejected = await ana.rings(bo);
    await bo.does('call:reject', rejected, 'ended');
    await bo.expect('call:reject:confirmed', { callId: rejected.id });
    await everywhere('call:rejected', { callId: rejected.id, reason: 'User declined' });
    const accepted = await ana.rings(bo);
    await bo.does('call:accept', accepted, 'active');
    await everywhere('call:accepted', { callId: accepted.id, receiverId: bo.user });
    await ana.does('call:end', accepted, 'ended');
    await bo.expect('call:ended', { callId: accepted.id, endedBy: ana.user });
  },

  async 'two sockets of one phone are one device'(stage) {
    const [ana, bo] = await stage.pair();
    const leftover = await stage.another(bo);
    const call = await ana.rings(bo, leftover);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id, receiverId: bo.user });
    await leftover.does('call:accept', call, 'active');
    await ana.does('call:end', call, 'ended');
    await Promise.all([bo, leftover].map((phone) => phone.expect('call:ended', { callId: call.id })));
  },

  async 'the end of an old socket harms no newer one'(stage) {
    const [ana, bo] = await stage.pair();
    const newer = await stage.comesBack(bo);
    const call = await ana.rings(newer);
    await ana.does('call:cancel', call, 'ended');
    await newer.expect('call:cancelled', { callId: call.id });
  },
};

async function bosPhonesRing(stage) {
  const [ana, bo] = await stage.pair({}, handset);
  const tablet = await stage.phone('bos tablet', stage.a, { user: bo.user, deviceId: 'tablet' }).connect();
  return { ana, bo, tablet, call: await ana.rings(bo, tablet) };
}
