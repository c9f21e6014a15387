// What may become of a call, as an app of a client library sees it. A story is a cast and steps: who says which word, with what,
// the answer (none is waited for where there is none; `later` is ok by the end), and what changes by it for everybody and in the
// record of the server (`GET /api/calls/{id}`): nothing else may. Phones are at node A or B, and go to the other one when they
// come back. Who is `asleep` is not connected. `in first` and `of first`: of another call than the one that the story is about.

const PAIR = { ana: 'A', bo: 'B' };
const TABLET = { ana: 'A', bo: 'B', 'bo with a tablet': 'A' };
const THREE = { ana: 'A', bo: 'B', cy: 'A' };
const BO_ASLEEP = { ...PAIR, bo: 'B, asleep' };

const both = (seen, record = seen) => ({ ana: seen, bo: seen, record });
const over = (reason, by) => both(`ended ${reason}`, `ended ${reason}${by ? ` by ${by}` : ''}`);
const RINGS = ['ana', 'call', { to: 'bo' }, 'ok', { ana: 'ringing, alerting', bo: 'ringing', record: 'ringing' }];
const BOTH_RING = [...RINGS.slice(0, 4), { ...RINGS[4], 'bo with a tablet': 'ringing' }];
const ANSWERED = ['bo', 'answer', {}, 'ok', both('active audio')];
const ANA_HANGS_UP = ['ana', 'hangUp', {}, 'ok', over('hung_up', 'ana')];
const BO_HANGS_UP = ['bo', 'hangUp', {}, 'ok', over('hung_up', 'bo')];

export const outcomes = {
  // The two that take as long as a ring come first.
  'nobody answers': [PAIR, RINGS, [null, 'waits', {}, null, over('no_answer')]],
  'he is offline and stays away': [
    BO_ASLEEP,
    ['ana', 'call', { to: 'bo' }, 'ok', { ana: 'ringing, by push', record: 'trying' }],
    [null, 'waits', {}, null, { ana: 'ended no_answer', record: 'ended no_answer' }],
  ],

  'it is answered, and the caller hangs up': [PAIR, RINGS, ANSWERED, ANA_HANGS_UP],
  'it is answered, and the callee hangs up': [PAIR, RINGS, ANSWERED, BO_HANGS_UP],
  'it is rejected': [PAIR, RINGS, ['bo', 'decline', {}, 'ok', over('rejected', 'bo')]],
  'it is rejected with words': [
    PAIR, RINGS,
    ['bo', 'decline', { reason: 'In a meeting, später' }, 'ok', {
      ana: 'ended rejected: In a meeting, später', bo: 'ended rejected', record: 'ended rejected by bo: In a meeting, später',
    }],
  ],
  'it is cancelled': [PAIR, RINGS, ['ana', 'cancel', {}, 'ok', over('cancelled', 'ana')]],
  'he talks to somebody else': [
    THREE,
    ['cy', 'call', { to: 'bo', call: 'first' }, 'ok', { 'cy in first': 'ringing, alerting', 'bo in first': 'ringing', 'record of first': 'ringing' }],
    ['bo', 'answer', { call: 'first' }, 'ok', { 'cy in first': 'active audio', 'bo in first': 'active audio', 'record of first': 'active audio' }],
    ['ana', 'call', { to: 'bo' }, 'busy', { ana: 'ended busy', record: 'ended busy' }],
    ['bo', 'hangUp', { call: 'first' }, 'ok', { 'cy in first': 'ended hung_up', 'bo in first': 'ended hung_up', 'record of first': 'ended hung_up by bo' }],
  ],
  'he calls back while it rings, is told so, and answers': [
    PAIR, RINGS,
    ['bo', 'call', { to: 'ana', call: 'second' }, 'busy, it rings', { 'bo in second': 'ended busy', 'record of second': 'ended busy' }],
    ANSWERED, BO_HANGS_UP,
  ],
  'he is offline, and it is cancelled': [
    BO_ASLEEP,
    ['ana', 'call', { to: 'bo' }, 'ok', { ana: 'ringing, by push', record: 'trying' }],
    ['ana', 'cancel', {}, 'ok', { ana: 'ended cancelled', record: 'ended cancelled by ana' }],
  ],
  'he is offline, is woken by a push, and answers': [
    BO_ASLEEP,
    ['ana', 'call', { to: 'bo' }, 'ok', { ana: 'ringing, by push', record: 'trying' }],
    ['bo', 'push', {}, 'rings', { bo: 'ringing, by push' }],
    ['bo', 'connect', {}, null, { ana: 'ringing, alerting, by push', record: 'ringing' }],
    ANSWERED, ANA_HANGS_UP,
  ],
  'of two devices one answers': [
    TABLET, BOTH_RING,
    ['bo with a tablet', 'answer', {}, 'ok', { ...both('active audio'), bo: 'ended answered_elsewhere', 'bo with a tablet': 'active audio' }],
    ['bo with a tablet', 'hangUp', {}, 'ok', { ana: 'ended hung_up', 'bo with a tablet': 'ended hung_up', record: 'ended hung_up by bo' }],
  ],
  'of two devices one declines': [
    TABLET, BOTH_RING,
    ['bo', 'decline', {}, 'ok', { ...over('rejected', 'bo'), 'bo with a tablet': 'ended declined_elsewhere' }],
  ],
  'two devices ring, and it is cancelled': [
    TABLET, BOTH_RING,
    ['ana', 'cancel', {}, 'ok', { ...over('cancelled', 'ana'), 'bo with a tablet': 'ended cancelled' }],
  ],

  'video is asked for and given, and they go back to audio': [
    PAIR, RINGS, ANSWERED,
    ['ana', 'askVideo', {}, 'ok', { ana: 'active audio, I ask', bo: 'active audio, he asks', record: 'active audio' }],
    ['bo', 'answerVideo', { accepted: true }, 'ok', both('active video')],
    ['bo', 'toAudio', {}, 'ok', both('active audio')],
    BO_HANGS_UP,
  ],
  'video is asked for and refused': [
    PAIR, RINGS, ANSWERED,
    ['bo', 'askVideo', {}, 'ok', { ana: 'active audio, he asks', bo: 'active audio, I ask', record: 'active audio' }],
    ['ana', 'answerVideo', { accepted: false }, 'ok', both('active audio')],
    ANA_HANGS_UP,
  ],
  'messages go both ways, in order': [
    PAIR, RINGS, ANSWERED,
    ['ana', 'send', { data: { text: 'one' } }, 'ok to 1', { 'bo hears': '{"text":"one"}' }],
    ['ana', 'send', { data: { text: 'two' }, keep: true }, 'ok to 1', { 'bo hears': '{"text":"one"}, {"text":"two"} kept' }],
    ['bo', 'send', { data: 'drei: ß' }, 'ok to 1', { 'ana hears': '"drei: ß"' }],
    ANA_HANGS_UP,
  ],

  'the caller is cut off while it rings, and it is answered meanwhile': [
    PAIR, RINGS,
    ['ana', 'cut'],
    [...ANSWERED.slice(0, 4), { bo: 'active audio', record: 'active audio' }],
    ['ana', 'back', {}, null, { ana: 'active audio' }],
    ANA_HANGS_UP,
  ],
  'the callee is cut off while it rings, and it is cancelled meanwhile': [
    PAIR, RINGS,
    ['bo', 'cut'],
    ['ana', 'cancel', {}, 'ok', { ana: 'ended cancelled', record: 'ended cancelled by ana' }],
    ['bo', 'back', {}, null, { bo: 'ended cancelled' }],
  ],
  'the callee answers while he is cut off': [
    PAIR, RINGS,
    ['bo', 'cut'],
    ['bo', 'answer', {}, 'later', { bo: 'answering' }],
    ['bo', 'back', {}, null, both('active audio')],
    BO_HANGS_UP,
  ],
  'a party is cut off in the call, and the other one hangs up meanwhile': [
    PAIR, RINGS, ANSWERED,
    ['ana', 'cut'],
    ['bo', 'hangUp', {}, 'ok', { bo: 'ended hung_up', record: 'ended hung_up by bo' }],
    ['ana', 'back', {}, null, { ana: 'ended hung_up' }],
  ],
  'a party hangs up while he is cut off': [
    PAIR, RINGS, ANSWERED,
    ['bo', 'cut'],
    ['bo', 'hangUp', {}, 'later', { bo: 'ended hung_up' }],
    ['bo', 'back', {}, null, { ana: 'ended hung_up', record: 'ended hung_up by bo' }],
  ],
  'what is kept reaches who was cut off, and the call goes on': [
    PAIR, RINGS, ANSWERED,
    ['bo', 'cut'],
    ['ana', 'send', { data: 'for later', keep: true }, 'ok'],
    ['bo', 'back', {}, null, { 'bo hears': '"for later" kept' }],
    ANA_HANGS_UP,
  ],
  'an app starts again in the call': [
    PAIR, RINGS, ANSWERED,
    ['bo', 'restart', {}, null, { bo: 'active audio, restored' }],
    ANSWERED,
    BO_HANGS_UP,
  ],
};
