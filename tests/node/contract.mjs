// The shapes of docs/protocol.md: every event and every acknowledgement that reaches a phone is held against them, and
// against those of web/asyncapi.json.
import { ackSchemaBreaches, eventSchemaBreaches } from './schema.mjs';

/** Server to client, section 4. A field with "?" may be left out; no event carries any other field, save the fields
 *  of `call:initiate` that `call:incoming` passes through. */
const EVENTS = {
  'call:incoming': {
    callId: 'id', callerId: 'id', callerName: 'string', callType: 'string', channelName: 'string',
    agoraToken: 'text', timestamp: 'time', expiresInMs: 'duration', '...': true,
  },
  'call:accepted': { callId: 'id', timestamp: 'time', receiverId: 'id', 'repeat?': 'boolean' },
  'call:rejected': { callId: 'id', reason: 'string', timestamp: 'time' },
  'call:cancelled': { callId: 'id', reason: 'string', timestamp: 'time' },
  'call:ended': { callId: 'id', reason: 'string', timestamp: 'time', 'endedBy?': 'id', 'durationMs?': 'duration' },
  'call:timeout': { callId: 'id', reason: 'string' },
  'call:busy': { callId: 'id' },
  'call:reject:confirmed': { callId: 'id' },
  'call:ringing': { callId: 'id', timestamp: 'time' },
  'call:upgrade:request': { callId: 'id', senderId: 'id', timestamp: 'time', expiresInMs: 'duration' },
  'call:upgrade:response': { callId: 'id', accepted: 'boolean', 'reason?': 'string', timestamp: 'time' },
  'call:downgraded': { callId: 'id', senderId: 'id', timestamp: 'time' },
  'call:message': {
    callId: 'id', senderId: 'id', data: 'any', timestamp: 'time', order: 'count', 'messageId?': 'id', 'kept?': 'boolean',
  },
  'session:ready': { sessionId: 'string', serverTime: 'time', 'call?': 'snapshot', ended: 'outcomes' },
};

const SNAPSHOT = {
  callId: 'id', role: 'string', state: 'state', peerId: 'id', callType: 'string', 'expiresInMs?': 'duration',
};
const OUTCOME = { callId: 'id', reason: 'string', endedAt: 'time' };

const STATES = ['trying', 'ringing', 'active', 'ended'];
const CODES = [
  'invalid_payload', 'rate_limited', 'not_a_participant', 'call_not_found', 'invalid_state', 'unavailable', 'internal',
];

const TYPES = {
  string: (value) => typeof value === 'string' && value !== '' && value !== 'null',
  text: (value) => typeof value === 'string',
  any: () => true,
  count: (value) => Number.isSafeInteger(value) && value > 0,
  boolean: (value) => typeof value === 'boolean',
  id: (value) => typeof value === 'string' && /^[A-Za-z0-9_.:-]{1,64}$/.test(value),
  duration: (value) => Number.isInteger(value) && value >= 0,
  time: (value) => Number.isInteger(value) && Math.abs(value - Date.now()) < 60_000,
  state: (value) => STATES.includes(value),
  snapshot: (value) => isObject(value) && breaches(value, SNAPSHOT).length === 0,
  outcomes: (value) => Array.isArray(value) && value.every((entry) => breaches(entry, OUTCOME).length === 0),
};

/** What is wrong with an event as it arrived; empty when nothing is. */
export function eventBreaches(event, args, { acks }) {
  const shape = EVENTS[event];
  if (!shape) return ['is no event of the contract'];
  const payloads = args.filter((arg) => typeof arg !== 'function');
  if (payloads.length !== 1 || !isObject(payloads[0])) return ['must carry exactly one object'];
  const asked = args.length > payloads.length;
  return [
    ...eventSchemaBreaches(event, payloads[0]),
    ...(asked === (event === 'call:incoming' && Boolean(acks)) ? [] : [`${asked ? 'asks' : 'does not ask'} for an ack`]),
    ...breaches(payloads[0], shape),
  ];
}

/** What is wrong with an acknowledgement of any event. */
export function ackBreaches(args, event) {
  if (args.length !== 1 || !isObject(args[0])) return ['an ack is exactly one object'];
  const [ack] = args;
  return [
    ...ackSchemaBreaches(event, ack),
    ...nulls(ack),
    ...(typeof ack.success === 'boolean' ? [] : ['success must be a boolean']),
    ...(ack.success || TYPES.string(ack.error) ? [] : ['a refusal needs an error text']),
    ...(ack.code === undefined || (!ack.success && CODES.includes(ack.code)) ? [] : [`unknown code ${ack.code}`]),
    ...(ack.state === undefined || STATES.includes(ack.state) ? [] : [`unknown state ${ack.state}`]),
  ];
}

function breaches(payload, shape) {
  const found = nulls(payload);
  for (const [key, type] of Object.entries(shape)) {
    const field = key.replace('?', '');
    if (key === '...' || (key.endsWith('?') && !(field in payload))) continue;
    if (!(field in payload)) found.push(`${field} is missing`);
    else if (!TYPES[type](payload[field])) found.push(`${field} is no ${type}: ${JSON.stringify(payload[field])}`);
  }
  if (shape['...']) return found;
  const known = (field) => field in shape || `${field}?` in shape;
  return [...found, ...Object.keys(payload).filter((field) => !known(field)).map((field) => `${field} is no field of it`)];
}

/** JSON null reaches the deployed app as the text "null". */
function nulls(value) {
  return Object.entries(value).flatMap(([key, inner]) => {
    if (inner === null) return [`${key} is null`];
    return typeof inner === 'object' ? nulls(inner) : [];
  });
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
