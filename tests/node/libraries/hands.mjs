// Phones of the TypeScript library, in Node or in a page, told what to do through what an app has of it; what becomes of it is said.
// Hands.kt of clients/kotlin does the same with the Kotlin library.

/** `say` hears what happens; what is given takes orders. */
export function hands(Phone, say) {
  const phones = new Map();
  const calls = new Map();

  function make(number, { url, userId, deviceId, transports }) {
    const phone = new Phone({ url, userId, deviceId, transports, token: () => `token-of-${userId}` });
    phones.set(number, phone);
    phone.onLink(({ status }) => say({ phone: number, is: 'link', status }));
    phone.onIncoming((call) => watch(number, call));
    phone.onRestored((call) => watch(number, call));
  }

  function watch(number, call) {
    const name = `${number} ${call.id}`;
    if (calls.has(name)) return;
    calls.set(name, call);
    call.onState(({ videoAsked, ...state }) => {
      const { id: callId, role, peer, fields } = call;
      say({ phone: number, is: 'call', callId, role, peer, fields, ...state, asks: videoAsked?.by });
    });
    call.onMessage(({ id, senderId: from, data, kept = false }) => say({ phone: number, is: 'message', callId: call.id, id, from, data, kept }));
  }

  const WORDS = {
    answer: (call) => call.answer(),
    decline: (call, { reason }) => call.decline(reason),
    cancel: (call) => call.cancel(),
    hangUp: (call) => call.hangUp(),
    askVideo: (call) => call.askVideo(),
    answerVideo: (call, { accepted }) => call.answerVideo(accepted),
    toAudio: (call) => call.toAudio(),
    send: (call, { data, keep, id }) => call.send(data, { keep, id }),
  };

  return (told) => {
    const { phone: number, do: word, asked, callId } = told;
    const answer = ({ ok, devices, error }) => say({
      phone: number, is: 'answer', asked, outcome: ok ? 'ok' : error.code, devices, ringingCallId: error?.ringingCallId, reason: error?.reason,
    });
    switch (word) {
      case 'make': return make(number, told);
      case 'connect': return phones.get(number).connect();
      case 'close': return phones.get(number).close();
      case 'push': return say({ phone: number, is: 'answer', asked, outcome: phones.get(number).handlePush(told.data) });
      case 'call': {
        const call = phones.get(number).call(told.to, told.type, { callId, ...told.fields });
        watch(number, call);
        return void call.dialled.then(answer);
      }
      default: return void WORDS[word](calls.get(`${number} ${callId}`), told).then(answer);
    }
  };
}
