// Reads a description of events with the parser of AsyncAPI: node tests/api/asyncapi.mjs <its folder> <file>
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [folder, file] = process.argv.slice(2);
const { Parser } = createRequire(join(resolve(folder), 'from-here.js'))('@asyncapi/parser');
const { document, diagnostics } = await new Parser().parse(readFileSync(file, 'utf8'));
// 3.1 is newer and brings nothing that is needed here.
const found = diagnostics.filter(({ code }) => code !== 'asyncapi-latest-version');
for (const { message, path } of found) console.log(`${path.join('.')}: ${message}`);
if (!document || found.length) process.exit(1);
console.log(`api-tests: asyncapi: ${document.operations().length} operations, nothing wrong`);
