// Shows /openapi.json, routes by tag, and /asyncapi.json, events by who says them; bodies field by field.
const page = document.querySelector('#page');

function element(name, content = [], attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...[content].flat());
  return made;
}

/** Text in which `words` are code. */
function prose(text = '') {
  return text.split('`').map((part, place) => (place % 2 ? element('code', part) : part));
}

const resolve = (api, schema = {}) => (schema.$ref ? api.components.schemas[schema.$ref.split('/').pop()] : schema);

function kind(api, schema = {}) {
  if (schema.$ref) return resolve(api, schema).type === 'object' ? schema.$ref.split('/').pop() : kind(api, resolve(api, schema));
  if (schema.oneOf) return schema.oneOf.map((one) => kind(api, one)).join(' or ');
  if (schema.enum) return schema.enum.join(', ');
  if ('const' in schema) return String(schema.const);
  if (schema.type === 'array') return `list of ${kind(api, schema.items)}`;
  return [schema.type ?? 'anything'].flat().join(' or ');
}

function bounds({ minimum, maximum, minLength, maxLength, maxItems, pattern }) {
  return [
    minimum !== undefined && maximum !== undefined && `${minimum} to ${maximum}`,
    minLength !== undefined && maxLength !== undefined && `${minLength} to ${maxLength} characters`,
    minLength === undefined && maxLength !== undefined && `up to ${maxLength} characters`,
    maxItems !== undefined && `up to ${maxItems}`,
    pattern,
  ].filter(Boolean).join(', ');
}

function row(api, name, schema, required, text) {
  const details = [...prose(text ?? schema.description ?? resolve(api, schema).description)];
  const limits = bounds(resolve(api, schema));
  if (limits) details.push(' ', element('span', limits, { className: 'muted' }));
  return element('tr', [
    element('td', element('code', name)),
    element('td', kind(api, schema)),
    element('td', required ? '' : 'optional', { className: 'muted' }),
    element('td', details),
  ]);
}

function body(api, schema) {
  const object = resolve(api, schema);
  if (!object.properties) return [];
  const rows = Object.entries(object.properties)
    .flatMap(([name, field]) => {
      const inner = field.items && resolve(api, field.items);
      const own = row(api, name, field, object.required?.includes(name));
      if (!inner?.properties) return [own];
      return [own, ...Object.entries(inner.properties).map(([key, deep]) => row(api, `${name}[].${key}`, deep, inner.required?.includes(key)))];
    });
  return [...(object.description ? [element('p', prose(object.description))] : []), element('table', rows)];
}

function operation(api, path, method, described) {
  const json = (holder) => Object.values(holder?.content ?? {})[0]?.schema;
  const open = described.security?.some((one) => Object.keys(one).length === 0);
  const parts = [element('summary', [element('b', method.toUpperCase()), element('code', path), ` ${described.summary ?? ''}`])];
  if (described.description) parts.push(element('p', prose(described.description)));
  if (open) parts.push(element('p', described.security.length > 1 ? 'The secret may be left out where OPEN_QUERIES allows it.' : 'Needs no secret.', { className: 'muted' }));
  if (described.parameters?.length) {
    const rows = described.parameters.map((one) => row(api, one.name, one.schema, one.required, one.description));
    parts.push(element('h3', 'Path and query'), element('table', rows));
  }
  if (described.requestBody) parts.push(element('h3', 'Request'), ...body(api, json(described.requestBody)));
  parts.push(element('h3', 'Answers'));
  const answers = Object.entries(described.responses).map(([status, answer]) => element('tr', [
    element('td', element('code', status)), element('td', kind(api, json(answer))), element('td', prose(answer.description)),
  ]));
  parts.push(element('table', answers));
  const success = json(described.responses[200]);
  if (success) parts.push(...body(api, success));
  return element('details', parts);
}

/** An event: its fields, an example, and how it is acknowledged. */
function event(events, described) {
  const last = ({ $ref }) => $ref.split('/').pop();
  const message = (ref) => events.components.messages[last(ref)];
  const { name, summary, payload, examples } = message(described.messages[0]);
  const parts = [element('summary', [element('code', name), ' ', ...prose(summary)]), ...body(events, payload)];
  const shown = (all = []) => all.map((example) => element('pre', JSON.stringify(example.payload, null, 2)));
  for (const pre of shown(examples)) parts.push(element('h3', 'Example'), pre);
  if (described.reply) {
    parts.push(element('h3', 'Acknowledgement'));
    parts.push(...described.reply.messages.map(message).flatMap((ack) => [
      element('p', element('b', last(ack.payload))), ...body(events, ack.payload), ...shown(ack.examples),
    ]));
  }
  return element('details', parts);
}

const GROUPS = [
  ['Events of a phone', 'phone', 'receive'], ['Events to a phone', 'phone', 'send'], ['Webhooks', 'webhooks', 'send'],
];
const api = await (await fetch('/openapi.json')).json();
const events = await (await fetch('/asyncapi.json')).json();
page.replaceChildren(
  element('h1', `${api.info.title} ${api.info.version}`),
  element('p', prose(api.info.description)),
  element('p', ['Described in ', element('a', '/openapi.json', { href: '/openapi.json' }), ' and ',
    element('a', '/asyncapi.json', { href: '/asyncapi.json' }), '. Errors are ', element('code', '{error, code}'), '.']),
  ...api.tags.flatMap((tag) => [
    element('h2', tag.name),
    element('p', prose(tag.description)),
    ...Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods)
      .filter(([, described]) => described.tags?.includes(tag.name))
      .map(([method, described]) => operation(api, path, method, described))),
  ]),
  ...GROUPS.flatMap(([title, channel, action]) => [
    element('h2', title),
    element('p', prose(events.channels[channel].description)),
    ...Object.values(events.operations)
      .filter((one) => one.action === action && one.channel.$ref === `#/channels/${channel}`)
      .map((one) => event(events, one)),
  ]),
);
