// What web/asyncapi.json says about a message, checked on real ones. The part of JSON Schema that it uses, and no more.
import { readFileSync } from 'node:fs';

export const api = JSON.parse(readFileSync(new URL('../../web/asyncapi.json', import.meta.url), 'utf8'));
const { schemas, messages } = api.components;
const USED = new Set(['$ref', 'description', 'type', 'enum', 'const', 'pattern', 'minLength', 'maxLength', 'minimum', 'maxItems', 'items', 'format', 'required', 'properties', 'additionalProperties']);

const follow = (ref) => ref.slice(2).split('/').reduce((place, key) => place[key], api);
const kind = (value) => (value === null ? 'null' : Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value);

/** What is wrong with `value`, each with its place. */
export function breaches(value, schema, place = 'it') {
  if (schema.$ref) return breaches(value, follow(schema.$ref), place);
  const unknown = Object.keys(schema).filter((key) => !USED.has(key));
  if (unknown.length) throw new Error(`a schema uses ${unknown}, which is not checked here`);
  if ('const' in schema && value !== schema.const) return [`${place} is not ${schema.const}`];
  if (schema.enum && !schema.enum.includes(value)) return [`${place} is none of ${schema.enum}: ${JSON.stringify(value)}`];
  if (schema.type && ![schema.type].flat().includes(kind(value))) return [`${place} is ${kind(value)}, not ${schema.type}`];
  if (kind(value) === 'string') {
    const fits = (schema.minLength ?? 0) <= value.length && value.length <= (schema.maxLength ?? Infinity) && (!schema.pattern || new RegExp(schema.pattern).test(value));
    return fits ? [] : [`${place} is not allowed: ${JSON.stringify(value.slice(0, 80))}`];
  }
  if (kind(value) === 'integer') return value >= (schema.minimum ?? -Infinity) ? [] : [`${place} is below ${schema.minimum}`];
  if (kind(value) === 'array') {
    return [...(value.length > (schema.maxItems ?? Infinity) ? [`${place} is too long`] : []), ...value.flatMap((one, at) => breaches(one, schema.items ?? {}, `${place}[${at}]`))];
  }
  if (kind(value) !== 'object') return [];
  const { properties = {}, required = [], additionalProperties = true } = schema;
  return [
    ...required.filter((key) => !(key in value)).map((key) => `${place}.${key} is missing`),
    ...Object.entries(value).flatMap(([key, inner]) => {
      if (properties[key]) return breaches(inner, properties[key], `${place}.${key}`);
      if (additionalProperties === false) return [`${place}.${key} is no field of it`];
      return additionalProperties === true ? [] : breaches(inner, additionalProperties, `${place}.${key}`);
    }),
  ];
}

/** The operations of a channel: `{ event, action, schema, replies }` each. */
export const operations = Object.values(api.operations).map((operation) => {
  const message = follow(operation.messages[0].$ref);
  const { name, payload } = message.$ref ? follow(message.$ref) : message;
  return {
    event: name, action: operation.action, channel: operation.channel.$ref.split('/').pop(), schema: payload,
    replies: operation.reply?.messages.map(({ $ref }) => messages[$ref.split('/').pop()].payload),
  };
});

export const schemaName = ({ $ref }) => $ref.split('/').pop();

const heard = operations.filter(({ channel, action }) => channel === 'phone' && action === 'send');
const said = operations.filter(({ channel, action }) => channel === 'phone' && action === 'receive');
/** The events that were held against their schemas so far. */
export const seen = new Set();
/** The events of a phone that were acknowledged as described so far. */
export const answered = new Set();
/** The fields that each event, and each acknowledgement by the name of its schema, had so far. */
export const shapes = new Map();

export const shapeOf = (value) => Object.keys(value ?? {}).sort().join();

function note(name, value) {
  shapes.set(name, (shapes.get(name) ?? new Set()).add(shapeOf(value)));
}

export function eventSchemaBreaches(event, payload) {
  const operation = heard.find((one) => one.event === event) ?? (event.startsWith('app:') ? heard.find((one) => one.event === 'app:*') : undefined);
  if (!operation) return ['web/asyncapi.json does not know it'];
  seen.add(operation.event);
  note(operation.event, payload);
  return breaches(payload, operation.schema);
}

/** An acknowledgement must be one of those of its event; of an event that nobody knows, a refusal. */
export function ackSchemaBreaches(event, ack) {
  const replies = said.find((one) => one.event === event)?.replies ?? [{ $ref: '#/components/schemas/Refused' }];
  const all = replies.map((schema) => breaches(ack, schema));
  const right = replies[all.findIndex((one) => one.length === 0)];
  if (!right) return all.sort((a, b) => a.length - b.length)[0];
  answered.add(event);
  note(schemaName(right), ack);
  return [];
}

export { schemas };
