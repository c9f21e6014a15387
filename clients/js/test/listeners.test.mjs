// Listeners, without a server: clients/kotlin's ListenersTest asks the same.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { setImmediate as settled } from 'node:timers/promises';
import { Phone } from '../dist/index.js';

const phoneOf = () => new Phone({ url: 'http://127.0.0.1:1', userId: 'USR_1', deviceId: 'device', token: () => new Promise(() => {}) });
const push = (phone, n) => phone.handlePush({ type: 'incoming_call', callId: `CALL_${n}`, callerId: 'USR_2' });

test('who begins to listen while news are on their way hears each once, in order', async () => {
  const phone = phoneOf();
  const [calls, phases, links] = [[], [], []];
  push(phone, 1);
  phone.onIncoming(({ id }) => calls.push(id));
  const [call] = phone.calls;
  call.answer();
  call.onState(({ phase }) => phases.push(phase));
  call.decline();
  phone.connect();
  phone.onLink(({ status }) => links.push(status));
  phone.close();
  push(phone, 2);
  assert.deepEqual([calls, phases, links], [[], [], []], 'nobody hears anything within a step');
  await settled();
  assert.deepEqual(calls, ['CALL_1', 'CALL_2']);
  assert.deepEqual(phases, ['answering', 'ended']);
  assert.deepEqual(links, ['connecting', 'idle']);
  phone.close();
});

test('who has gone hears no more, also of what was on its way', async () => {
  const phone = phoneOf();
  const calls = [];
  push(phone, 1);
  phone.onIncoming(({ id }) => calls.push(id))();
  push(phone, 2);
  const off = phone.onIncoming(({ id }) => {
    calls.push(id);
    off();
  });
  await settled();
  assert.deepEqual(calls, ['CALL_1']);
  phone.close();
});

test('a message that a listener did not stay for is heard by the next one', async () => {
  const phone = phoneOf();
  push(phone, 1);
  const [call] = phone.calls;
  const heard = [];
  for (const n of [1, 2, 3]) call._hear({ senderId: 'USR_2', data: n, timestamp: n });
  call.onMessage(({ data }) => heard.push(`gone ${data}`))();
  const off = call.onMessage(({ data }) => {
    heard.push(`first ${data}`);
    off();
  });
  await settled();
  call._hear({ senderId: 'USR_2', data: 4, timestamp: 4 });
  await settled();
  call.onMessage(({ data }) => heard.push(data));
  await settled();
  assert.deepEqual(heard, ['first 1', 2, 3, 4]);
  phone.close();
});

test('a listener that throws, at once or later, keeps nothing from the others', async () => {
  const phone = phoneOf();
  const complaints = mock.method(console, 'error', () => {});
  const calls = [];
  phone.onIncoming(() => { throw new Error('thrown by a test'); });
  phone.onIncoming(async () => { throw new TypeError('thrown by a test'); });
  phone.onIncoming(({ id }) => calls.push(id));
  phone.onIncoming((call) => call.onState(() => { throw undefined; }));
  push(phone, 1);
  push(phone, 2);
  await settled();
  complaints.mock.restore();
  assert.deepEqual(calls, ['CALL_1', 'CALL_2']);
  const failures = phone.log.map(({ text }) => text).filter((text) => text.startsWith('a listener failed'));
  assert.deepEqual(failures.sort(), [
    'a listener failed: Error', 'a listener failed: Error', 'a listener failed: TypeError', 'a listener failed: TypeError',
    'a listener failed: unknown', 'a listener failed: unknown',
  ]);
  assert.equal(complaints.mock.callCount(), 6);
  phone.close();
});

test('an address that is none is refused at once', () => {
  for (const url of ['', undefined, 'signaling.example.com', 'ftp://example.com', 'https://']) {
    const made = () => new Phone({ url, userId: 'USR_1', deviceId: 'device', token: () => 'token' });
    assert.throws(made, /https:\/\/signaling\.example\.com/);
  }
});

const made = (options) => () => new Phone({ url: 'http://127.0.0.1:1', userId: 'USR_1', deviceId: 'device', token: () => 'token', ...options });

test('an address with a path, which would be a namespace, is refused at once', () => {
  for (const url of ['https://example.com/signaling', 'http://127.0.0.1:3001/signaling/', 'wss://example.com//', 'https://example.com/a?b=c']) {
    assert.throws(made({ url }), (error) => error instanceof TypeError && error.message.includes('has a path'), url);
  }
  for (const url of ['https://example.com', 'https://example.com/', 'http://[::1]:3001/', 'wss://example.com:8443']) made({ url })();
});

test('a deviceId that the server would take for none is refused at once', () => {
  for (const deviceId of ['', undefined, 7, 'x'.repeat(65), 'é'.repeat(33), '📞'.repeat(17)]) {
    assert.throws(made({ deviceId }), (error) => error instanceof TypeError && error.message.startsWith('deviceId has '), String(deviceId));
  }
  for (const deviceId of ['x', 'x'.repeat(64), 'é'.repeat(32), '📞'.repeat(16)]) made({ deviceId })();
});
