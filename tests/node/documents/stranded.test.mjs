// The table of docs/client.md is one that tests/node/stranded.mjs made, whole, and no phone of a library is stranded in it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { read } from './blocks.mjs';

const page = read('docs/client.md');
const program = read('tests/node/stranded.mjs');
const names = (declared) => {
  const body = program.split(`const ${declared} = {\n`)[1].split('\n};')[0];
  return [...body.matchAll(/^ {2}'?(\w[\w/ ]*?)'?(?:: |\()/gm)].map(([, name]) => name);
};

test('each fault meets each kind of phone, and the libraries strand none', () => {
  const [head, , ...rows] = page.slice(page.indexOf('| fault | kind |')).split('\n\n')[0].split('\n');
  const cellsOf = (row) => row.split('|').map((cell) => cell.trim());
  const columns = cellsOf(head);
  let fault;
  const found = rows.map(cellsOf).map((cells) => {
    fault = cells[columns.indexOf('fault')] || fault;
    const [kind, stranded, lost] = ['kind', 'stranded', 'lost the connection'].map((column) => cells[columns.indexOf(column)]);
    assert.match(lost, /^\d+ of 300$/, `${fault}, ${kind}`);
    if (kind !== 'deployed') assert.equal(stranded, '0', `${fault}, ${kind}`);
    return `${fault}: ${kind}`;
  });
  assert.deepEqual(found.sort(), names('FAULTS').flatMap((one) => names('KINDS').map((kind) => `${one}: ${kind}`)).sort());
});

test('docs/moving-over.md says the same of the deployed options', () => {
  const [, lost, stranded] = /\| both nodes are away for 30 s \| deployed \| (\d+) of 300 \| (\d+) \|/.exec(page);
  assert.ok(read('docs/moving-over.md').includes(`after an outage of 30 s ${stranded} of ${lost} phones were stranded a minute later | 0 of 300 |`));
});
