// Payloads that mean harm. The sender gets a refusal; nobody else notices.
import { nextCallId, nextUserId } from '../ids.mjs';

const EVENTS = [
  'call:initiate', 'call:accept', 'call:reject', 'call:cancel', 'call:end', 'call:ringing', 'call:message',
  'call:upgrade', 'call:switchToVideo', 'call:switch_to_video', 'call:upgrade:response', 'call:downgrade',
  'presence:subscribe', 'presence:unsubscribe',
];
const UPGRADES = EVENTS.filter((event) => event.includes('grade') || event.includes('witch'));
// May answer `Not supported` until they are.
const LATER = [...UPGRADES, 'call:message'];
const PRESENCE = EVENTS.filter((event) => event.startsWith('presence:'));

const MEGABYTE = 'x'.repeat(1 << 20);
const DEPTH = 2000;

export const hostile = {
  async 'hostile payloads, a call goes on beside them'(stage) {
    const [ana, bo] = await stage.pair({ acks: true });
    const call = await ana.rings(bo);
    await bo.does('call:accept', call, 'active');
    await ana.expect('call:accepted', { callId: call.id });

    const findings = (await Promise.all(EVENTS.map((event, i) => attack(stage, event, call, i % 2 ? stage.a : stage.b)))).flat();
    if (findings.length) throw new Error(findings.join('\n  '));

    await Promise.all([ana, bo].map((phone) => phone.nothingMore(100)));
    for (const node of [stage.a, stage.b]) {
      const health = await node.get('/health');
      if (health.status !== 200 || health.body.status !== 'OK') throw new Error(`node ${node.name}: ${JSON.stringify(health)}`);
    }
    await ana.does('call:end', call, 'ended');
    await bo.expect('call:ended', { callId: call.id, endedBy: ana.user });
  },
};

/** Sends everything under one event name, with and without an ack; returns what was wrong with the answers. */
async function attack(stage, event, call, node) {
  const findings = [];
  const connect = (name) => stage.phone(name, node).connect();
  const unknownId = { eve: nextCallId(), mute: nextCallId() };
  const eve = await connect(`eve ${event}`);
  for (const [kind, payload, judge = refused] of payloads(event, call, unknownId.eve)) {
    const problem = await eve.ask(event, ...payload).then(judge, (error) => error.message);
    if (problem) findings.push(`${event}, ${kind}: ${problem}`);
  }

  const mute = await connect(`mute ${event}`);
  for (const [, payload] of payloads(event, call, unknownId.mute)) mute.tell(event, ...payload);
  const problem = await mute.ask('call:end', { callId: nextCallId() }).then(code('call_not_found'), (error) => error.message);
  if (problem) findings.push(`after ${event} without acks: ${problem}`);

  // An initiate with unknown ids, or under another's id, is a call like any other, to somebody who is offline: it would time out.
  if (event === 'call:initiate') {
    for (const callId of [unknownId.eve, call.id]) await eve.ask('call:cancel', { callId });
    for (const callId of [unknownId.mute, call.id]) await mute.ask('call:cancel', { callId });
  }
  if (event === 'call:reject') [eve, mute].forEach((phone) => phone.tolerate('call:reject:confirmed'));

  // So large a message may cost its sender the connection, so every one is another's.
  const elsewhere = { callId: call.id, receiverId: nextUserId(), userIds: [MEGABYTE], data: MEGABYTE };
  for (const payload of [MEGABYTE, { callId: MEGABYTE }, elsewhere]) {
    const mallory = await connect(`mallory ${event}`);
    const problem = await mallory.ask(event, payload).then(refused, (error) => (mallory.connected ? error.message : null));
    if (problem) findings.push(`${event}, one megabyte: ${problem}`);
    mallory.tolerate('(disconnect)');
  }
  return findings;
}

/** `[kind, arguments, judge of the ack]`; the judge returns what is wrong, or nothing. */
function payloads(event, call, unknownId) {
  const receiverId = nextUserId();
  const whole = (callId) => ({
    callId, receiverId, callType: 'AUDIO', channelName: 'channel', agoraToken: '', senderId: receiverId,
    accepted: true, data: { text: 'hello' }, userIds: [receiverId],
  });
  return [
    ['nothing', []],
    ['null', [null]],
    ['a number', [42]],
    ['a boolean', [true]],
    ['a text', ['text']],
    ['an empty list', [[]]],
    ['a list', [[1, 'two', null]]],
    ['an empty object', [{}]],
    ['three arguments', [1, 'two', {}]],
    ['binary', [Buffer.from([0, 255, 1])]],
    ['fields of the wrong type', [{
      callId: 7, receiverId: {}, callType: [], channelName: 1, agoraToken: {}, userIds: 'x', accepted: 'x', data: 1,
      reason: {},
    }]],
    ['fields that are null', [{ callId: null, receiverId: null, callType: null, channelName: null, agoraToken: null, userIds: null }]],
    ['a call id with a space', [{ ...whole('a b'), userIds: ['a b'] }]],
    ['a call id of 65 characters', [{ ...whole('x'.repeat(65)), userIds: ['x'.repeat(65)] }]],
    ['a call id beyond ASCII', [{ ...whole('CALL_\u{1F4A3}\u0000'), userIds: ['\u{1F4A3}'] }]],
    ['names of prototypes', [JSON.parse('{"__proto__":{"callId":"1"},"constructor":1,"callId":{"toString":1}}')]],
    ['deep lists', [deep((inner) => [inner])]],
    ['deep objects', [deep((inner) => ({ inner }))]],
    ['a deep field', [{ ...whole(call.id), callId: deep((inner) => [inner]), userIds: deep((inner) => [inner]) }]],
    ['unknown ids', [whole(unknownId)], unknown(event)],
    ['a stranger\'s call', [whole(call.id)], stranger(event)],
  ];
}

function unknown(event) {
  if (event === 'call:initiate') return (ack) => (ack.useFcmFallback === true ? null : `not tracked as offline: ${JSON.stringify(ack)}`);
  if (PRESENCE.includes(event)) return () => null;
  return LATER.includes(event) ? refused : code('call_not_found');
}

function stranger(event) {
  // Where nobody can say whose the id is, it is each one's own (docs/adr/0015).
  if (event === 'call:initiate') return unknown(event);
  if (PRESENCE.includes(event)) return () => null;
  return LATER.includes(event) ? refused : code('not_a_participant');
}

function refused(ack) {
  if (ack.success === false && (ack.code || ack.error === 'Not supported')) return null;
  return `must be refused with a code: ${JSON.stringify(ack)}`;
}

function code(wanted) {
  return (ack) => (ack.success === false && ack.code === wanted ? null : `must be refused with ${wanted}: ${JSON.stringify(ack)}`);
}

function deep(wrap) {
  let value = 'core';
  for (let level = 0; level < DEPTH; level += 1) value = wrap(value);
  return value;
}
