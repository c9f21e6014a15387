// Writes what the chart derives: the values table of helm/README.md from the comments of values.yaml, `config` of
// values.schema.json from the table in docs/configuration.md, and the chart's own copies of rules and dashboards, since a
// chart is moved without what lies beside it. With --check it only compares.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';

const root = new URL('..', import.meta.url);
const read = (path) => readFileSync(new URL(path, root), 'utf8');
// The chart sets these itself, or takes them from the Secret.
const OWNED = ['PORT', 'API_PORT', 'ADMIN_PORT', 'HOST', 'NODE_ENV', 'NODE_ID', 'NODE_ADDRESS', 'DRAIN_DELAY_SECS', 'DRAIN_SECS'];
const SECRET = ['REDIS_URL', 'LARAVEL_API_SECRET', 'NODE_SECRET', 'WEBHOOK_SECRET', 'LOG_USERS_KEY', 'OTEL_EXPORTER_OTLP_HEADERS'];

const COPIES = { 'helm/dashboards/': 'deploy/grafana/dashboards/', 'helm/rules/': 'deploy/prometheus/rules/' };

const wanted = { 'helm/README.md': readme(), 'helm/values.schema.json': schema() };
for (const [to, from] of Object.entries(COPIES)) {
  for (const name of readdirSync(new URL(from, root))) wanted[to + name] = read(from + name);
}
let old = false;
for (const [path, text] of Object.entries(wanted)) {
  if (existsSync(new URL(path, root)) && read(path) === text) continue;
  if (process.argv.includes('--check')) {
    old = true;
    console.log(`${path} is old: run node scripts/chart-tables.mjs`);
  } else writeFileSync(new URL(path, root), text);
}
process.exit(old ? 1 : 0);

function readme() {
  const rows = values(read('helm/values.yaml')).map(
    ({ path, value, meaning }) => `| \`${path}\` | ${value === '' ? '' : `\`${value.replaceAll('|', '\\|')}\``} | ${meaning.replaceAll('|', '\\|')} |`,
  );
  const table = ['| value | default | meaning |', '| --- | --- | --- |', ...rows].join('\n');
  return read('helm/README.md').replace(/(<!-- values -->\n)[^]*(<!-- \/values -->)/, `$1${table}\n$2`);
}

/** Every value with a comment above it. */
function values(yaml) {
  const lines = yaml.split('\n');
  const found = [];
  const parents = [];
  lines.forEach((line, number) => {
    const [, indent, key, value] = /^( *)([A-Za-z][\w.]*):(?: (.*))?$/.exec(line) ?? [];
    if (key === undefined) return;
    parents.length = indent.length / 2;
    parents.push(key);
    const comment = /^ *# (.*)$/.exec(lines[number - 1])?.[1];
    if (comment === undefined) return;
    const children = [];
    for (const below of lines.slice(number + 1)) {
      if (!below.startsWith(`${indent} `)) break;
      children.push(below);
    }
    const group = value === undefined && children.some((child) => /^ *# /.test(child));
    found.push({ path: parents.join('.'), value: group ? '' : (value ?? '…'), meaning: comment });
  });
  return found;
}

function schema() {
  const parsed = JSON.parse(read('helm/values.schema.json'));
  const rows = read('docs/configuration.md').matchAll(/^\| `([A-Z_]+)` \| (?:–|`(.*?)`) \| (.*) \|$/gm);
  const properties = {};
  for (const [, name, preset, meaning] of rows) {
    if (OWNED.includes(name) || SECRET.includes(name)) continue;
    properties[name] = typeOf(preset, meaning);
  }
  parsed.properties.config = { type: 'object', additionalProperties: false, properties };
  return `${layOut(parsed)}\n`;
}

function typeOf(preset, meaning) {
  if (/^\d+$/.test(preset ?? '')) return { type: ['integer', 'string'], pattern: '^[0-9]+$', minimum: 0 };
  if (/^\d+\.\d+$/.test(preset ?? '')) return { type: ['number', 'string'], pattern: '^[0-9.]+$', minimum: 0 };
  if (/^(true|false)$/.test(preset ?? '')) return { type: ['boolean', 'string'], pattern: '^(true|false)$' };
  // Choices are listed first in the meaning: `a`, `b` or `c`.
  const head = meaning.split(/[:;]/).slice(0, 2).join(':');
  const choices = /`,? (or )?`/.test(head) ? [...head.matchAll(/`([a-z]+)`/g)].map(([, choice]) => choice) : [];
  // An `on` without quotes is `true` to YAML.
  if (choices.includes('on')) return { enum: [...choices, true, false] };
  if (choices.length > 1 && (preset === undefined || choices.includes(preset))) return { enum: choices };
  return { type: 'string' };
}

/** Small objects on one line. */
function layOut(value, indent = '') {
  const flat = inline(value);
  if (typeof value !== 'object' || indent.length + flat.length <= 110) return flat;
  const inner = `${indent}  `;
  if (Array.isArray(value)) return `[\n${value.map((item) => inner + layOut(item, inner)).join(',\n')}\n${indent}]`;
  const lines = Object.entries(value).map(([key, item]) => `${inner}${JSON.stringify(key)}: ${layOut(item, inner)}`);
  return `{\n${lines.join(',\n')}\n${indent}}`;
}

function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${inline(item)}`).join(', ')}}`;
}
