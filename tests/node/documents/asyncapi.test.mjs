// web/asyncapi.json says what docs/protocol.md, docs/webhooks.md, src/wire and src/socket say; the types of clients/js are made of it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Cluster, Program } from '../cluster.mjs';
import { Phone } from '../phone.mjs';
import { answered, api, breaches, eventSchemaBreaches, operations, schemaName, schemas, seen, shapeOf, shapes } from '../schema.mjs';
import { read, root } from './blocks.mjs';

const protocol = read('docs/protocol.md');
const section = (title) => protocol.split(new RegExp(`^##+ (?:[\\d.]+ )?${title}.*$`, 'm'))[1]?.split(/^##+ /m)[0] ?? assert.fail(`no section ${title}`);
const rows = (text) => [...text.matchAll(/^\| (`.*?) \|$/gm)].map(([, row]) => row.split(/ \| ?/));
const words = (text) => [...text.matchAll(/`([^`]*)`/g)].map(([, word]) => word);
const of = (channel, action) => operations.filter((one) => one.channel === channel && one.action === action);
const resolve = (schema) => (schema.$ref ? schemas[schema.$ref.split('/').pop()] : schema);
const fields = (schema) => Object.keys(resolve(schema).properties ?? {}).sort();

test('what a phone says is the table of docs/protocol.md', () => {
  const text = section('Phone to server');
  const described = of('phone', 'receive');
  const listed = new Map(rows(text).flatMap(([names, payload]) => words(names).map((name) => [name, payload])));
  assert.deepEqual(described.map(({ event }) => event).sort(), [...listed.keys()].sort());
  for (const [event, payload] of listed) {
    const { schema } = described.find((one) => one.event === event);
    const inWords = words(payload).filter((word) => /^[a-z]\w*\??$/i.test(word));
    assert.deepEqual(fields(schema), inWords.map((word) => word.replace('?', '')).sort(), event);
    const optional = inWords.filter((word) => word.endsWith('?')).map((word) => word.slice(0, -1));
    assert.deepEqual(fields(schema).filter((field) => !resolve(schema).required.includes(field)), optional, `optional in ${event}`);
  }
});

test('what a phone hears is the table of docs/protocol.md', () => {
  const described = of('phone', 'send').filter(({ event }) => event !== 'app:*');
  const listed = new Map(rows(section('Server to phone')).filter(([names]) => /^`[a-z]+:/.test(names)).flatMap(([names, , payload]) => words(names).map((name) => [name, payload])));
  assert.deepEqual(described.map(({ event }) => event).sort(), [...listed.keys()].sort());
  for (const [event, payload] of listed) {
    const { schema } = described.find((one) => one.event === event);
    // The value of a field, such as `No answer`, is none.
    if (event !== 'session:ready') assert.deepEqual(fields(schema), words(payload).filter((word) => /^[a-z]\w*$/.test(word)).sort(), event);
  }
  assert.match(section('Laravel to server'), /`app:`/);
});

test('events of the code are those that are described', () => {
  const sent = [...read('src/wire/events.rs').matchAll(/"((?:call|session|user):[a-z:_]+)"/g)].map(([, name]) => name);
  const described = of('phone', 'send').map(({ event }) => event).filter((event) => event !== 'app:*');
  assert.deepEqual([...new Set(sent)].sort(), described.sort());
  const handlers = read('src/socket/handlers.rs');
  for (const { event } of of('phone', 'receive')) assert.ok(handlers.includes(`"${event}"`), `src/socket/handlers.rs takes ${event}`);
  const taken = [...handlers.matchAll(/"((?:call|presence):\w+(?::\w+)*)"/g)].map(([, name]) => name);
  for (const event of taken) assert.ok(of('phone', 'receive').some((one) => one.event === event), `${event} is described`);
});

test('codes, reasons and states are those of docs/protocol.md', () => {
  const text = section('All other acknowledgements');
  assert.deepEqual(schemas.ServerCode.enum, rows(text).map(([code]) => words(code)[0]));
  const after = (start) => words(text.split(start)[1].split(/\.(?:\s|$)/)[0]).filter((word) => /^[a-z_]+$/.test(word));
  assert.deepEqual(schemas.CallStateName.enum, after('States are'));
  assert.deepEqual(schemas.ServerReason.enum, after('Reasons of an ended call:'));
});

test('webhooks are those of docs/webhooks.md', () => {
  const webhooks = read('docs/webhooks.md');
  const listed = [...webhooks.matchAll(/^\| ((?:`(?:call|user)\.[a-z_]+`(?:, )?)+) \|/gm)].flatMap(([, names]) => words(names));
  const described = of('webhooks', 'send').map(({ event }) => event);
  assert.deepEqual(described.filter((event) => event.startsWith('call.')).sort(), listed.sort());
  for (const event of described) assert.ok(webhooks.includes(`\`${event}\``), event);
});

test('every example of the documents is valid, and those of the description', () => {
  let checked = 0;
  for (const [name, { examples, payload }] of Object.entries(api.components.messages)) {
    assert.ok(examples?.length, `${name} has no example`);
    for (const example of examples) assert.deepEqual(breaches(example.payload, payload), [], name);
  }
  const acks = section('Acknowledgements of') + section('All other acknowledgements');
  const blocks = (text) => [...text.matchAll(/```json\n(.*?)```/gs)].map(([, json]) => JSON.parse(json));
  const one = (value, names) => {
    const all = names.map((name) => breaches(value, schemas[name]));
    assert.ok(all.some((found) => found.length === 0), `${JSON.stringify(value)} is none of ${names}: ${all}`);
    checked += 1;
  };
  for (const ack of blocks(acks)) one(ack, ['Rings', 'PushInstead', 'Busy', 'Done', 'Users', 'Refused']);
  for (const event of blocks(section('Server to phone'))) one(event, ['Incoming', 'Ended']);
  for (const event of blocks(section('After connecting'))) one(event, ['Ready']);
  for (const auth of blocks(section('Connecting'))) one(auth, ['Handshake']);
  for (const hook of blocks(read('docs/webhooks.md'))) assert.deepEqual(breaches(hook, operations.find(({ event }) => event === hook.type).schema), []);
  assert.ok(checked >= 10, `${checked} examples`);
});

test('the examples of webhooks are those of docs/webhooks.md and of /openapi.json, which are understood', () => {
  const open = Object.values(JSON.parse(read('src/http/description.json')).webhooks).map(({ post }) => post.requestBody.content['application/json'].example);
  const documented = [...open, ...[...read('docs/webhooks.md').matchAll(/```json\n(.*?)```/gs)].map(([, json]) => JSON.parse(json))];
  for (const [name, { examples }] of Object.entries(api.components.messages)) {
    if (!name.startsWith('hook')) continue;
    for (const { payload } of examples) assert.ok(documented.some((one) => isDeepStrictEqual(one, payload)), name);
  }
});

test('the types of clients/js are generated from it', () => {
  const made = execFileSync(process.execPath, [`${root}scripts/wire-types.mjs`], { encoding: 'utf8' });
  assert.equal(read('clients/js/src/wire.ts'), made, 'run: node scripts/wire-types.mjs >clients/js/src/wire.ts');
});

test('clients/kotlin knows the same codes and reasons', () => {
  const types = read('clients/kotlin/src/main/kotlin/app/onlycare/signaling/Types.kt');
  const members = (name) => types.split(`enum class ${name} {`)[1].split('\n}')[0].replace(/\/\*\*.*?\*\//gs, '').match(/[A-Z_]+/g).map((member) => member.toLowerCase());
  for (const code of schemas.ServerCode.enum) assert.ok(members('ErrorCode').includes(code), code);
  // `other` is what it makes of a reason that it does not know.
  for (const reason of schemas.ServerReason.enum) assert.ok(members('EndReason').includes(reason), reason);
});

/** That each message has an example whose fields are those of one that was really heard. */
function assertHeardLike(messages) {
  for (const { name, payload, examples } of messages) {
    const heard = shapes.get(name === 'acknowledgement' ? schemaName(payload) : name) ?? new Set();
    const like = examples.some((example) => heard.has(shapeOf(example.payload)));
    assert.ok(like, `no ${name} was heard as in ${JSON.stringify(examples)}, but: ${[...heard].join('; ')}`);
  }
}

test('each event that a phone can hear or say was, each acknowledgement too, and all are as described', async () => {
  const cluster = await Cluster.start(['A', 'B'], { RING_TIMEOUT_SECS: '5' });
  const [a, b] = cluster.nodes;
  const phones = [];
  const phone = async (node, user, deviceId) => {
    const made = await new Phone({ name: user, user, node, mode: 'websocket', deviceId, acks: true }).connect();
    made.socket.onAny((event, payload) => assert.deepEqual(eventSchemaBreaches(event, payload), [], event));
    assert.deepEqual(eventSchemaBreaches('session:ready', made.ready), []);
    phones.push(made);
    return made;
  };
  try {
    const [ana, bo] = [await phone(a, 'USR_ana', 'a'), await phone(b, 'USR_bo', 'b')];
    const away = await ana.ask('presence:subscribe', { userIds: ['USR_cy'] });
    assert.deepEqual(away.users, { USR_cy: false });
    assert.equal((await ana.ask('call:end', {})).code, 'invalid_payload');
    const pushed = await ana.dial({ user: 'USR_absent' });
    assert.equal(pushed.ack.useFcmFallback, true);
    await ana.does('call:cancel', pushed, 'ended');
    const timedOut = await ana.rings(bo);
    await ana.expect('call:timeout', { callId: timedOut.id });
    await bo.expect('call:cancelled', { reason: 'Timeout' });
    const rejected = await ana.rings(bo);
    await bo.does('call:reject', rejected, 'ended');
    await bo.expect('call:reject:confirmed');
    await ana.expect('call:rejected');
    const talk = await ana.dial(bo, { callType: 'AUDIO', agoraAppId: 'app' });
    await bo.expectIncoming(talk);
    await ana.expect('call:ringing', { callId: talk.id });
    await bo.does('call:ringing', talk, 'ringing');
    await bo.does('call:accept', talk, 'active');
    await ana.expect('call:accepted');
    await ana.does('call:upgrade', talk, 'active');
    await bo.expect('call:upgrade:request');
    await bo.ask('call:upgrade:response', { callId: talk.id, accepted: true });
    await ana.expect('call:upgrade:response');
    await bo.does('call:downgrade', talk, 'active');
    await ana.expect('call:downgraded');
    for (const event of ['call:switchToVideo', 'call:switch_to_video']) {
      await ana.does(event, talk, 'active');
      await bo.expect('call:upgrade:request');
      await bo.ask('call:upgrade:response', { callId: talk.id, accepted: false, reason: 'Not now' });
      await ana.expect('call:upgrade:response', { accepted: false, reason: 'Not now' });
    }
    await bo.does('call:message', talk, 'active', { data: [1, { deep: 'x' }] });
    await ana.expect('call:message');
    await bo.does('call:message', talk, 'active', { data: { type: 'chat', text: 'x' }, keep: true, messageId: 'm1' });
    await ana.expect('call:message', { messageId: 'm1', kept: true });
    const cy = await phone(b, 'USR_cy', 'c');
    await ana.expect('user:online', { userId: 'USR_cy' });
    await cy.dial(bo);
    await cy.expect('call:busy');
    cy.close();
    await ana.expect('user:offline', { userId: 'USR_cy' });
    await ana.ask('presence:unsubscribe', { userIds: ['USR_cy'] });
    const dee = await phone(await cluster.another('C', { VIDEO_SWITCH: 'off' }), 'USR_dee', 'd');
    assert.deepEqual(await dee.ask('call:upgrade', { callId: talk.id }), { success: false, error: 'Not supported' });
    await a.post('/api/users/USR_bo/emit', { event: 'app:hello', data: { text: 'x' } });
    await bo.expect('app:hello');
    await ana.does('call:end', talk, 'ended');
    await bo.expect('call:ended');
    for (const breach of phones.flatMap(({ breaches: found }) => found.filter((one) => !/^(user|app|call:message)/.test(one)))) assert.fail(breach);
    assert.deepEqual([...seen].sort(), of('phone', 'send').map(({ event }) => event).sort());
    assert.deepEqual([...answered].sort(), of('phone', 'receive').map(({ event }) => event).sort());
    // What a phone says and what Laravel sends is the sender's; what nodes make of it is heard here.
    assertHeardLike(Object.entries(api.components.messages).filter(([name]) => /^(hear(?!AppAny)|ack)/.test(name)).map(([, one]) => one));
  } finally {
    for (const one of phones) one.close();
    for (const program of Program.all) program.kill();
  }
});
