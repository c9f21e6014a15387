// A client that was generated from /openapi.json, as a backend in TypeScript would use it: compiled strictly, then run
// against a node. URL and SECRET name the node.
import { disconnectUser, getCall, listConnectedUsers, reportCallEnded, ringCall, whoIsOnline } from './generated/index';
import type { CallEvent, CallState, Ending } from './generated/index';
import { client } from './generated/client.gen';

declare const process: { env: Record<string, string | undefined>; exit(code: number): never };

function assert(holds: unknown, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

async function main() {
  const callId = 'CALL_TYPED_1';
  const ring = { callId, callerId: 'USR_1', receiverId: 'USR_2', callType: 'AUDIO', channelName: 'c', agoraToken: 't' };

  client.setConfig({ baseUrl: process.env.URL! });
  const stranger = await ringCall({ body: ring });
  assert(stranger.error && 'code' in stranger.error && stranger.error.code === 'unauthorized', stranger.error);

  client.setConfig({ baseUrl: process.env.URL!, headers: { 'x-internal-secret': process.env.SECRET! } });
  const rung = await ringCall({ body: ring });
  assert(rung.data?.useFcmFallback, rung.data ?? rung.error);

  const { data: call } = await getCall({ path: { callId } });
  assert(call, 'no call');
  const state: CallState = call.state;
  const ringing: 'trying' | 'ringing' | 'active' | 'ended' = state;
  assert(ringing === 'trying' && call.timeline.some(({ what }) => what === 'created'), call);

  const ended = await reportCallEnded({ body: { callId, endedBy: 'USR_1' } });
  assert(ended.data?.success, ended.error);
  const after = await getCall({ path: { callId } });
  const reason: Ending | undefined = after.data?.reason;
  assert(reason === 'hung_up', after.data);

  const online = await whoIsOnline({ body: { userIds: ['USR_1'] } });
  assert(online.data?.users.USR_1 === false, online.data);
  assert((await listConnectedUsers({ query: { limit: 10 } })).data?.count === 0, 'somebody is there');
  assert((await disconnectUser({ path: { userId: 'USR_1' } })).data?.disconnected === 0, 'a body was wanted');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

// Webhooks have types too.
export function bill(event: CallEvent): number {
  return event.type === 'call.ended' ? (event.data.talkMs ?? 0) : 0;
}
