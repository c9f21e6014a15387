// Prints clients/js/src/wire.ts, the types of web/asyncapi.json:
//   node scripts/wire-types.mjs >clients/js/src/wire.ts
import { readFileSync } from 'node:fs';

const api = JSON.parse(readFileSync(new URL('../web/asyncapi.json', import.meta.url), 'utf8'));
const { schemas, messages } = api.components;
const name = (ref) => ref.split('/').pop();
const comment = (text, indent) => (text ? [`${indent}/** ${text} */`] : []);

function type(schema, indent) {
  if (schema.$ref) return name(schema.$ref);
  if ('const' in schema) return quoted(schema.const);
  if (schema.enum) return schema.enum.map(quoted).join(' | ');
  if (Array.isArray(schema.type)) return schema.type.map((one) => type({ type: one }, indent)).join(' | ');
  switch (schema.type) {
    case 'array': return `${type(schema.items, indent)}[]`;
    case 'integer': case 'number': return 'number';
    case 'string': case 'boolean': case 'null': return schema.type;
    case 'object': return schema.properties ? object(schema, indent) : `Record<string, ${schema.additionalProperties ? type(schema.additionalProperties, indent) : 'unknown'}>`;
    default: return 'unknown';
  }
}

function object({ properties, required = [], additionalProperties }, indent) {
  const inner = `${indent}  `;
  const lines = Object.entries(properties).flatMap(([key, field]) => [
    ...comment(field.description, inner), `${inner}${key}${required.includes(key) ? '' : '?'}: ${type(field, inner)};`,
  ]);
  if (additionalProperties) lines.push(`${inner}[further: string]: unknown;`);
  return `{\n${lines.join('\n')}\n${indent}}`;
}

function quoted(value) {
  return typeof value === 'string' ? `'${value}'` : String(value);
}

const lines = ['// Generated from web/asyncapi.json by scripts/wire-types.mjs.', ''];
for (const [title, schema] of Object.entries(schemas)) {
  lines.push(...comment(schema.description ?? `${title}.`, ''));
  lines.push(schema.properties ? `export interface ${title} ${object(schema, '')}` : `export type ${title} = ${type(schema, '')};`, '');
}
const operations = Object.entries(api.operations);
const message = (operation) => messages[name(operation.messages[0].$ref)];
const map = (title, text, chosen, member) => {
  lines.push(`/** ${text} */`, `export interface ${title} {`, ...chosen.map(([, operation]) => `  ${member(operation)};`), '}', '');
};
const phone = operations.filter(([, { channel }]) => channel.$ref === '#/channels/phone');
map('PhoneEvents', 'What a phone says, and how it is acknowledged.', phone.filter(([, { action }]) => action === 'receive'), (operation) => {
  const acks = operation.reply.messages.map(({ $ref }) => name(messages[name($ref)].payload.$ref)).join(' | ');
  return `'${message(operation).name}': [${name(message(operation).payload.$ref)}, ${acks}]`;
});
map('ServerEvents', 'What a phone hears.', phone.filter(([, { action }]) => action === 'send'), (operation) => {
  const event = message(operation).name;
  return `${event.endsWith('*') ? `[event: \`${event.replace('*', '${string}')}\`]` : `'${event}'`}: ${name(message(operation).payload.$ref)}`;
});
process.stdout.write(`${lines.join('\n').trimEnd()}\n`);
