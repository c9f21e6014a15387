// An attempt to connect that comes to nothing, without a node: the log says why.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { mock, test } from 'node:test';
import { Phone } from '../dist/index.js';
import { CONSTANTS } from '../dist/machine.js';

const phoneAt = (url, options = {}) => new Phone({ url, userId: 'USR_1', deviceId: 'device', token: () => 'a-secret-token', ...options });
const addressOf = (server) => `http://127.0.0.1:${server.address().port}`;
const logOf = (phone) => phone.log.map(({ text }) => text);

/** Connects until the phone waits, and gives its log. */
async function logOfFailure(phone) {
  const waits = new Promise((done) => phone.onLink(({ status }) => status === 'waiting' && done()));
  phone.connect();
  await waits;
  phone.close();
  return logOf(phone);
}

test('a server that refuses by a status is told with it', async () => {
  const server = createHttpServer((_, response) => response.writeHead(503, { 'retry-after': '1' }).end());
  server.on('upgrade', (_, socket) => socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  try {
    const polling = await logOfFailure(phoneAt(addressOf(server)));
    assert.ok(polling.includes('could not connect: TransportError: xhr poll error, HTTP 503'), polling.join('\n'));
    const websocket = await logOfFailure(phoneAt(addressOf(server), { transports: ['websocket'] }));
    assert.ok(websocket.some((text) => /^could not connect: TransportError: websocket error, .*503/.test(text)), websocket.join('\n'));
    assert.ok(![...polling, ...websocket].some((text) => /a-secret-token|transport=/.test(text)));
  } finally {
    server.close();
  }
});

test('a wrong port is told', async () => {
  const log = await logOfFailure(phoneAt('http://127.0.0.1:1'));
  assert.ok(log.some((text) => /^could not connect: TransportError: xhr poll error, .*ECONNREFUSED/.test(text)), log.join('\n'));
});

test('a token provider that fails, at once or later, is told by the class of its error', async () => {
  const providers = [() => { throw new TypeError('a-secret-token'); }, async () => { throw new RangeError('a-secret-token'); }, () => Promise.reject('a-secret-token')];
  for (const [at, told] of ['TypeError', 'RangeError', 'unknown'].entries()) {
    const log = await logOfFailure(phoneAt('http://127.0.0.1:1', { token: providers[at] }));
    assert.ok(log.includes(`the token provider failed: ${told}`), log.join('\n'));
    assert.ok(!log.some((text) => text.includes('a-secret-token')));
  }
});

test('a transport that does not open is given up after OPEN_MS, and the next attempt has twice the time', async () => {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const sockets = [];
  server.on('connection', (socket) => sockets.push(socket.on('error', () => {})));
  let connected = once(server, 'connection');
  mock.timers.enable({ apis: ['setTimeout'] });
  const phone = phoneAt(addressOf(server));
  try {
    phone.connect();
    await connected;
    mock.timers.tick(CONSTANTS.OPEN_MS - 1);
    assert.equal(phone.link.status, 'connecting');
    mock.timers.tick(1);
    assert.equal(phone.link.status, 'waiting');
    assert.ok(logOf(phone).includes('could not connect: timeout'), logOf(phone).join('\n'));
    connected = once(server, 'connection');
    mock.timers.tick(CONSTANTS.RECONNECT_MS);
    await connected;
    mock.timers.tick(2 * CONSTANTS.OPEN_MS - 1);
    assert.equal(phone.link.status, 'connecting');
    mock.timers.tick(1);
    assert.equal(phone.link.status, 'waiting');
  } finally {
    phone.close();
    mock.timers.reset();
    for (const socket of sockets) socket.destroy();
    server.close();
  }
});
