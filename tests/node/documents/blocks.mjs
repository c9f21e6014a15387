// What documents say, so that tests can hold them to it.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const read = (path) => readFileSync(root + path, 'utf8');

/** The fenced blocks of a document, in order. */
export function blocks(path, ...languages) {
  const found = [...read(path).matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language, text]) => ({ language, text }));
  return languages.length ? found.filter(({ language }) => languages.includes(language)) : found;
}

/** The value without what differs from run to run: numbers, ids and names of nodes stay as their kind. */
export function shape(value) {
  if (Array.isArray(value)) return value.map(shape);
  if (typeof value !== 'object' || value === null) return value;
  const own = (key, inner) => {
    if (typeof inner === 'number' && key !== 'seq' && key !== 'count' && !/^(connectedUsers|activeCalls)$/.test(key)) return 'a number';
    // What happens in one moment may be written in any order.
    if (key === 'timeline') return inner.map((entry) => JSON.stringify(shape(entry))).sort();
    return ['node', 'socketId', 'sessionId'].includes(key) && typeof inner === 'string' ? 'a name' : shape(inner);
  };
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, own(key, inner)]));
}
