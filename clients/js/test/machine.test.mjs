// The state machine, by the vectors that the Kotlin library passes too.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CONSTANTS, clockOffset, initial, step } from '../dist/machine.js';

const vector = (name) => JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), 'utf8'));
const NOW = 1795368390000;
const stories = vector('stories');
const table = vector('table');

/** As it would go over a wire: without what is undefined. */
const plain = (value) => JSON.parse(JSON.stringify(value));

test('the constants are those of the vectors', () => {
  assert.deepEqual(plain(CONSTANTS), vector('constants'));
});

for (const { name, steps } of stories) {
  test(`story: ${name}`, () => {
    let state = initial('USR_1');
    let now = NOW;
    for (const [at, { in: input, out, after = 0, random = 0.5, link, calls = {}, offset }] of steps.entries()) {
      now += after;
      const before = JSON.stringify(state);
      const [next, effects] = step(state, { ...input, now, random });
      assert.equal(JSON.stringify(state), before, `step ${at} changed what it was given`);
      const where = `step ${at}, ${JSON.stringify(input)}`;
      assert.deepEqual(plain(effects), out, where);
      if (link) assert.deepEqual(plain(next.link), link, where);
      if (offset !== undefined) assert.equal(clockOffset(next.clock), offset, where);
      for (const [key, fields] of Object.entries(calls)) {
        const call = next.calls.find((other) => other.key === key);
        const seen = { ...call, pending: call.pending?.command ?? '', video: call.video?.command ?? '' };
        for (const [field, value] of Object.entries(fields)) assert.deepEqual(seen[field], value, `${where}: ${key}.${field}`);
      }
      state = next;
    }
  });
}

function play(inputs, state = initial('USR_1')) {
  const all = [];
  for (const input of inputs) {
    const [next, effects] = step(state, { ...input, now: NOW, random: 0.5 });
    state = next;
    all.push(...effects);
  }
  return { state, effects: all, call: state.calls.find(({ key }) => key === '17') };
}

/** What became of call 17, in the words of the table. */
function cell(prelude, inputs) {
  const before = play(prelude);
  const after = play(inputs, before.state);
  const moved = after.call.phase !== before.call.phase || after.call.reason !== before.call.reason;
  const words = [
    ...(moved ? [[after.call.phase, after.call.reason].filter(Boolean).join(' ')] : []),
    ...after.effects.filter((effect) => effect.type === 'send' && effect.key === '17').map(({ event }) => event),
    ...after.effects.filter((effect) => /^(retry|missing|video):17$/.test(effect.name)).map(({ name, ms }) => `${name.split(':')[0]} in ${ms} ms`),
  ];
  const resolved = after.effects.find(({ type }) => type === 'resolve');
  const result = resolved && (resolved.result.ok ? 'ok' : resolved.result.error.code);
  return { course: words.join(', '), result };
}

test('each input does to a call in each phase what the table says', () => {
  for (const row of table.inputs) {
    for (const [phase, prelude] of Object.entries(table.phases)) {
      const inputs = row.inputs ?? row[phase.split(' ')[0]];
      assert.equal(cell(prelude, inputs).course || '–', row.cells[phase], `${row.name}, ${phase}`);
    }
  }
});

test('each answer of the server does to each word what the table says', () => {
  for (const { name, ack, cells } of table.acks) {
    for (const [word, { command, inputs }] of Object.entries(table.words)) {
      const { course, result } = cell(inputs, [{ type: 'ack', command, key: '17', try: 1, ack }]);
      assert.equal([course, result].filter(Boolean).join('; ') || '–', cells[word], `${name}, ${word}`);
    }
  }
});

test('docs/client.md shows the tables and the constants', () => {
  const document = readFileSync(new URL('../../../docs/client.md', import.meta.url), 'utf8');
  const rows = [
    `| | ${Object.keys(table.phases).join(' | ')} |`,
    ...table.inputs.map(({ name, cells }) => `| ${name} | ${Object.values(cells).join(' | ')} |`),
    `| | ${Object.keys(table.words).join(' | ')} |`,
    ...table.acks.map(({ name, cells }) => `| ${name} | ${Object.values(cells).join(' | ')} |`),
  ];
  for (const row of rows) assert.ok(document.includes(row), `docs/client.md lacks this row:\n${row}`);
  for (const [name, value] of Object.entries(CONSTANTS)) assert.ok(document.includes(`| \`${name}\` | ${value} |`), `${name} is ${value}`);
});

test('ten thousand random inputs: ended is final, what is kept is bounded, every request has one answer', () => {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const pick = (list) => list[Math.floor(random() * list.length)];
  const inputs = stories.flatMap(({ steps }) => steps.map((one) => one.in));
  let state = initial('USR_1');
  const open = new Map();
  let request = 1000;
  for (let n = 0; n < 10_000; n += 1) {
    let input = structuredClone(pick(inputs));
    const id = `CALL_${Math.floor(n / 40)}`;
    if ('callId' in input) input.callId = id;
    if (input.data?.callId) input.data.callId = id;
    if ('key' in input) input.key = id.slice(5);
    if ('request' in input) input.request = ++request;
    const asks = ['call', 'answer', 'decline', 'cancel', 'hangUp', 'askVideo', 'answerVideo', 'toAudio', 'message'].includes(input.type);
    if (asks) open.set(input.request, input.type);
    const [next, effects] = step(state, { ...input, now: NOW + n * 100, random: random() });
    for (const { type, request: answered } of effects) if (type === 'resolve') assert.ok(open.delete(answered), `${answered} has a second answer`);
    for (const call of state.calls.filter(({ phase }) => phase === 'ended')) {
      const later = next.calls.find(({ key }) => key === call.key);
      if (later) assert.deepEqual([later.phase, later.reason], ['ended', call.reason]);
    }
    assert.ok(next.calls.length <= CONSTANTS.CALLS_KEPT && next.clock.length <= CONSTANTS.CLOCK_SAMPLES);
    state = next;
  }
  [state] = step(state, { type: 'stop', now: NOW, random: 0 });
  const words = state.calls.flatMap(({ pending, video }) => [pending, video]);
  const waiting = new Set([...words.flatMap((word) => word?.requests ?? []), ...state.messages.map((message) => message.request)]);
  assert.equal(waiting.size, 0);
});
