// The library against real nodes.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { Cluster, Program, Proxy, closePhones, logOf, phoneAt, reaches, ready, rings, until } from './stage.mjs';

let cluster;
let a;
let b;
before(async () => {
  cluster = await Cluster.start(['A', 'B'], { CALLER_GRACE_SECS: '20' });
  [a, b] = await Promise.all(cluster.nodes.map((node) => Proxy.start(node.url)));
});
after(() => {
  closePhones();
  a.close();
  b.close();
  const faults = cluster.faults().filter((fault) => !fault.includes('SIGKILL'));
  for (const program of Program.all) program.kill();
  assert.deepEqual(faults, []);
});

test('two calls, one after the other, over polling that becomes a websocket', async () => {
  const [ana, bo] = [phoneAt(a.url), phoneAt(b.url)];
  await ready(ana, bo);
  const first = ana.call(bo.userId, 'VIDEO', { agoraToken: '006a', balanceTime: '12:30' });
  assert.equal(ana.call(bo.userId, 'VIDEO'), first, 'a second tap is the same call');
  const there = await rings(bo);
  assert.equal(there.peer, ana.userId);
  assert.equal(there.fields.balanceTime, '12:30');
  assert.deepEqual(await first.dialled, { ok: true });
  await until(() => first.state.alerting, 'the caller hears that it rings');
  assert.deepEqual(await Promise.all([there.answer(), there.answer()]), [{ ok: true }, { ok: true }]);
  await reaches(first, 'active');
  const heard = [];
  there.onMessage((message) => heard.push(message));
  assert.deepEqual(await first.send({ text: 'hello' }), { ok: true, devices: 1 });
  const kept = ['one', 'two', 'three'].map((text) => first.send({ type: 'chat', text }, { keep: true, id: text }));
  assert.deepEqual(await Promise.all(kept), kept.map(() => ({ ok: true, devices: 1 })));
  await until(() => heard.length === 4, 'the messages arrive');
  assert.deepEqual([heard[0].senderId, heard[0].data, heard[0].kept], [ana.userId, { text: 'hello' }, undefined]);
  assert.deepEqual(heard.slice(1).map(({ id, kept: isKept }) => [id, isKept]), [['one', true], ['two', true], ['three', true]]);
  assert.deepEqual(await first.hangUp(), { ok: true });
  await reaches(there, 'ended', 'hung_up');
  assert.ok(there.state.durationMs >= 0);
  const state = JSON.stringify(first.state);

  const second = bo.call(ana.userId, 'AUDIO');
  const here = await rings(ana);
  assert.deepEqual(await here.decline('In a meeting'), { ok: true });
  await reaches(second, 'ended', 'rejected');
  assert.equal(second.state.text, 'In a meeting');
  assert.equal(JSON.stringify(first.state), state, 'the first call heard nothing of the second');

  const third = ana.call(bo.userId, 'VIDEO');
  const rang = await rings(bo);
  assert.deepEqual(await third.cancel(), { ok: true });
  await reaches(rang, 'ended', 'cancelled');
  assert.equal((await rang.answer()).error.code, 'invalid_state');
  assert.ok(Math.abs(ana.serverNow() - Date.now()) < 5000);
  assert.ok(ana.log.length <= 100 && !JSON.stringify(ana.log).includes('token-of'));
});

test('an audio call becomes a video call and goes back, also over a cut, and the app hears its own events', async () => {
  const [ana, bo] = [phoneAt(a.url), phoneAt(b.url)];
  await ready(ana, bo);
  const call = ana.call(bo.userId, 'AUDIO');
  const there = await rings(bo);
  assert.equal((await call.askVideo()).error.code, 'invalid_state');
  await there.answer();
  await reaches(call, 'active');
  const shows = (one, type, by) => until(
    () => one.callType === type && one.state.videoAsked?.by === by, () => `it is ${type}, asked by ${by}: ${JSON.stringify(one.state)}`,
  );

  assert.deepEqual(await call.askVideo(), { ok: true });
  await shows(call, 'AUDIO', 'me');
  await shows(there, 'AUDIO', 'peer');
  assert.ok(Math.abs(there.state.videoAsked.until - bo.serverNow() - 30_000) < 5000);
  assert.deepEqual(await there.answerVideo(false), { ok: true });
  await shows(call, 'AUDIO');
  assert.deepEqual(await there.askVideo(), { ok: true });
  await shows(call, 'AUDIO', 'peer');
  assert.deepEqual(await Promise.all([call.answerVideo(true), call.answerVideo(true)]), [{ ok: true }, { ok: true }]);
  await Promise.all([shows(call, 'VIDEO'), shows(there, 'VIDEO')]);
  assert.deepEqual(await call.toAudio(), { ok: true });
  await Promise.all([shows(call, 'AUDIO'), shows(there, 'AUDIO')]);
  await Promise.all([call.askVideo(), there.askVideo()]);
  await Promise.all([shows(call, 'VIDEO'), shows(there, 'VIDEO')]);

  b.open = false;
  b.cut();
  await until(() => bo.link.status !== 'ready', 'it is cut');
  const types = [];
  there.onState(({ callType }) => types.push(callType));
  assert.deepEqual(await call.toAudio(), { ok: true });
  b.open = true;
  bo.resume();
  await shows(there, 'AUDIO');
  await until(() => bo.link.status === 'ready', 'he is back');
  assert.deepEqual([...new Set(types)], ['VIDEO', 'AUDIO']);

  const heard = [];
  bo.onAppEvent((name, data) => heard.push([name, data]));
  const { body } = await cluster.nodes[0].post(`/api/users/${bo.userId}/emit`, { event: 'app:balance', data: { minutes: 3 } });
  assert.equal(body.emitted, true, JSON.stringify(body));
  await until(() => heard.length, 'the event of the app is heard');
  assert.deepEqual(heard, [['app:balance', { minutes: 3 }]]);
  await call.hangUp();
  await reaches(there, 'ended', 'hung_up');
  assert.equal((await there.toAudio()).error.code, 'invalid_state');
});

test('an answer that is given while the connection is cut arrives', async () => {
  const [ana, bo] = [phoneAt(a.url), phoneAt(b.url)];
  await ready(ana, bo);
  const call = ana.call(bo.userId, 'VIDEO');
  const there = await rings(bo);
  b.open = false;
  b.cut();
  await until(() => bo.link.status !== 'ready', 'the connection is broken');
  const answered = there.answer();
  b.open = true;
  bo.resume();
  assert.deepEqual(await answered, { ok: true });
  await reaches(call, 'active');
  a.cut();
  b.cut();
  await until(() => bo.link.status !== 'ready', 'both are cut');
  const over = there.hangUp();
  assert.equal(there.state.phase, 'ended', 'its screen closes at once');
  assert.deepEqual(await over, { ok: true });
  await reaches(call, 'ended', 'hung_up');
});

test('a node is killed and another takes its place, and the call goes on', async () => {
  const [ana, bo] = [phoneAt(a.url), phoneAt(b.url)];
  await ready(ana, bo);
  const call = ana.call(bo.userId, 'VIDEO');
  const there = await rings(bo);
  assert.deepEqual(await there.answer(), { ok: true });
  await reaches(call, 'active');
  cluster.nodes[1].program.kill();
  await until(() => bo.link.status !== 'ready', 'the phone of the dead node knows');
  const another = await cluster.another('C');
  cluster.nodes.push(another);
  b.target = another.url;
  await until(() => bo.link.status === 'ready', () => `it is back: ${logOf(bo)}`);
  assert.equal(there.state.phase, 'active');
  assert.deepEqual(await there.hangUp(), { ok: true });
  await reaches(call, 'ended', 'hung_up');
});

test('a phone that slept is rung by a push, once', async () => {
  const [ana, bo] = [phoneAt(a.url), phoneAt(b.url)];
  await ready(ana);
  const call = ana.call(bo.userId, 'VIDEO');
  assert.deepEqual(await call.dialled, { ok: true });
  assert.ok(call.state.byPush);
  const push = {
    type: 'incoming_call', callId: call.id, callerId: ana.userId, callerName: 'Ana', callType: 'VIDEO', channelId: 'c',
    timestamp: String(Date.now()),
  };
  assert.equal(bo.handlePush(push), 'rings');
  assert.equal(bo.handlePush(push), 'known');
  const there = await rings(bo);
  await ready(bo);
  assert.deepEqual(await there.answer(), { ok: true });
  await reaches(call, 'active');
  assert.equal(bo.rang.length, 0);
  await call.hangUp();
  await reaches(there, 'ended');
  assert.equal(bo.handlePush(push), 'over');
});

test('who watches a user hears of him, also after a cut', async () => {
  const [ana, bo] = [phoneAt(a.url), phoneAt(b.url)];
  ana.watch(bo.userId);
  await ready(ana);
  await until(() => ana.presence.get(bo.userId) === false, 'he is away');
  await ready(bo);
  await until(() => ana.presence.get(bo.userId) === true, 'he is there');
  a.cut();
  await until(() => ana.link.status !== 'ready', 'it is cut');
  bo.close();
  await until(() => ana.presence.get(bo.userId) === false, 'he is gone');
});

test('another device that answers, and a process that starts again', async () => {
  const ana = phoneAt(a.url);
  const [bo, tablet] = [phoneAt(b.url), phoneAt(a.url, { userId: 'USR_two_devices', deviceId: 'tablet' })];
  const mobile = phoneAt(b.url, { userId: 'USR_two_devices', deviceId: 'mobile' });
  await ready(ana, bo, tablet, mobile);
  const call = ana.call('USR_two_devices', 'VIDEO');
  const [onTablet, onMobile] = await Promise.all([rings(tablet), rings(mobile)]);
  assert.deepEqual(await onTablet.answer(), { ok: true });
  await reaches(onMobile, 'ended', 'answered_elsewhere');
  tablet.close();
  const restarted = phoneAt(b.url, { userId: 'USR_two_devices', deviceId: 'tablet' });
  const found = [];
  restarted.onRestored((restored) => found.push(restored));
  await ready(restarted);
  await until(() => found.length, 'the call is there again');
  assert.deepEqual(await found[0].answer(), { ok: true });
  await found[0].hangUp();
  await reaches(call, 'ended', 'hung_up');
});

/** What the server has written. */
const stateOf = async ({ id }) => (await cluster.nodes[0].get(`/api/calls/${id}`)).body.state;

test('a device whose answer was not confirmed does not cut the call that another one answered', async () => {
  const ana = phoneAt(a.url);
  const [tablet, mobile] = [phoneAt(a.url, { userId: 'USR_answers', deviceId: 'tablet' }), phoneAt(b.url, { userId: 'USR_answers', deviceId: 'mobile' })];
  await ready(ana, tablet, mobile);
  const call = ana.call('USR_answers', 'VIDEO');
  const [onTablet, onMobile] = await Promise.all([rings(tablet), rings(mobile)]);
  b.hold();
  const answered = onMobile.answer();
  const over = onMobile.hangUp();
  assert.equal((await answered).error.code, 'overtaken');
  assert.deepEqual(await onTablet.answer(), { ok: true });
  await reaches(call, 'active');
  b.cut();
  assert.deepEqual(await over, { ok: true });
  assert.equal(await stateOf(call), 'active');
  await onTablet.hangUp();
  await reaches(call, 'ended', 'hung_up');
});

test('a phone that is closed and connects again leaves the call of another device alone', async () => {
  const bo = phoneAt(b.url);
  const [tablet, mobile] = [phoneAt(a.url, { userId: 'USR_dials', deviceId: 'tablet' }), phoneAt(b.url, { userId: 'USR_dials', deviceId: 'mobile' })];
  await ready(bo, mobile);
  const call = mobile.call(bo.userId, 'VIDEO');
  await (await rings(bo)).answer();
  await reaches(call, 'active');
  await ready(tablet);
  await until(() => tablet.calls.length, 'the tablet knows of the call');
  tablet.close();
  await ready(tablet);
  // A word that it said would be answered before this one.
  assert.equal((await tablet.call(bo.userId, 'AUDIO').dialled).error?.code, 'busy');
  assert.equal(await stateOf(call), 'active');
  await call.hangUp();
});

test('a hang-up that was not heard before the phone was closed is said when it connects again', async () => {
  const [ana, bo] = [phoneAt(a.url), phoneAt(b.url)];
  await ready(ana, bo);
  const call = ana.call(bo.userId, 'VIDEO');
  const there = await rings(bo);
  await there.answer();
  await reaches(call, 'active');
  b.open = false;
  b.cut();
  await until(() => bo.link.status !== 'ready', 'it is cut');
  const over = there.hangUp();
  bo.close();
  assert.equal((await over).error.code, 'closed');
  b.open = true;
  bo.connect();
  await reaches(call, 'ended', 'hung_up');
});

test('after a restart in a call the same user is dialled anew, and the old call is over', async () => {
  const bo = phoneAt(b.url);
  const first = phoneAt(a.url, { userId: 'USR_restarts', deviceId: 'mobile' });
  await ready(bo, first);
  const before = first.call(bo.userId, 'VIDEO');
  const there = await rings(bo);
  await there.answer();
  await reaches(before, 'active');
  first.close();
  const again = phoneAt(b.url, { userId: 'USR_restarts', deviceId: 'mobile' });
  const tablet = phoneAt(a.url, { userId: 'USR_restarts', deviceId: 'tablet' });
  const [here, other] = [[], []];
  again.onRestored((call) => here.push(call));
  tablet.onRestored((call) => other.push(call));
  await ready(again, tablet);
  await until(() => here.length && other.length, 'both devices know of the call');
  assert.equal((await tablet.call(bo.userId, 'AUDIO').dialled).error?.code, 'busy', 'the line is another device\'s');
  const next = again.call(bo.userId, 'VIDEO', { channelName: 'new' });
  assert.notEqual(next.id, before.id);
  assert.deepEqual(await next.dialled, { ok: true });
  await reaches(here[0], 'ended', 'superseded');
  await reaches(there, 'ended', 'hung_up');
  const rang = await rings(bo);
  assert.equal(rang.fields.channelName, 'new');
  await next.cancel();
  await reaches(rang, 'ended', 'cancelled');
  // The tablet has no word of it until it connects again.
  a.cut();
  await reaches(other[0], 'ended');
});

test('what is no JSON or too large is refused here, and the phone goes on', async () => {
  const [ana, bo] = [phoneAt(a.url), phoneAt(b.url)];
  await ready(ana, bo);
  const circle = {};
  circle.circle = circle;
  for (const bad of [{ n: 1n }, { circle }, { text: 'x'.repeat(17_000) }]) {
    const dialled = ana.call(bo.userId, 'VIDEO', bad);
    assert.equal((await dialled.dialled).error.code, 'invalid_payload');
    assert.equal(dialled.state.phase, 'ended');
  }
  const call = ana.call(bo.userId, 'VIDEO');
  const there = await rings(bo);
  await there.answer();
  await reaches(call, 'active');
  for (const bad of [1n, circle, undefined, () => 1, 'x'.repeat(1_200_000), 'é'.repeat(2048)]) {
    for (const keep of [true, false]) assert.equal((await call.send(bad, { keep })).error.code, 'invalid_payload');
  }
  const data = { text: 'é'.repeat(2000) };
  const sent = call.send(data, { keep: true });
  data.text = 'later';
  assert.deepEqual(await sent, { ok: true, devices: 1 });
  const heard = [];
  there.onMessage((message) => heard.push(message.data.text));
  await until(() => heard.length, 'it arrives as it was');
  assert.deepEqual(heard, ['é'.repeat(2000)]);
  await call.hangUp();
  await reaches(there, 'ended');
});

test('"log in again" is told from "come back"', async () => {
  const laravel = createServer((request, response) => {
    const user = /^Bearer token-of-(\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    const body = user ? { success: true, data: { id: user, name: user } } : { success: false, error: { code: 'UNAUTHENTICATED' } };
    response.writeHead(user ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise((done) => laravel.listen(0, '127.0.0.1', done));
  const node = await cluster.another('L', { AUTH: 'laravel', LARAVEL_API_URL: `http://127.0.0.1:${laravel.address().port}` });
  const tokens = [Promise.reject(new Error('no network')), 'an old one', undefined, 'token-of-USR_login'];
  tokens[0].catch(() => {});
  const phone = phoneAt(node.url, { userId: 'USR_login', token: () => tokens.shift() });
  phone.connect();
  await until(() => phone.link.status === 'waiting', 'the provider failed: it comes back');
  await until(() => phone.link.status === 'refused', 'Laravel refused the token');
  assert.equal(phone.link.reason, 'login');
  const log = phone.log.map(({ text }) => text);
  assert.ok(log.includes('the token provider failed: Error') && log.includes('could not connect: CONNECT_ERROR Invalid token'), logOf(phone));
  assert.ok(!/no network|an old one/.test(log), logOf(phone));
  assert.equal((await phone.call('USR_2', 'VIDEO').dialled).error.code, 'login_required');
  phone.connect();
  await until(() => tokens.length === 1 && phone.link.status === 'refused', 'nobody is logged in');
  await ready(phone);
  const { status } = await node.post('/api/users/USR_login/disconnect', { reason: 'blocked' });
  assert.equal(status, 200);
  await until(() => phone.link.status === 'refused', 'sent away');
  assert.equal(phone.link.reason, 'dismissed');
  phone.close();
  node.program.kill();
  laravel.close();
});
