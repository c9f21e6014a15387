// A stand-in for Laravel, for trying out: the token `token-of-<user>` belongs to `<user>`. Says yes to callbacks and
// webhooks, and prints them.
import { createServer } from 'node:http';

const server = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const path = request.url.split('?')[0].replace(/^\/api\/v1/, '');
  const user = /^Bearer token-of-([\w.:-]{1,64})$/.exec(request.headers.authorization ?? '')?.[1];
  const answer = (status, data) => {
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(data));
    console.log(`${request.method} ${request.url} ${status} ${user ?? '-'} ${body}`);
  };
  const webhook = path === '/webhook' && request.headers['webhook-id'];
  if (webhook) return answer(200, {});
  if (!user) return answer(401, { success: false, error: { code: 'UNAUTHENTICATED', message: 'Unauthenticated.' } });
  if (path === '/users/me') return answer(200, { success: true, data: { id: user, name: user, gender: 'F' } });
  if (request.method === 'GET' && path.startsWith('/calls/')) return answer(404, { success: false });
  answer(200, { success: true });
});
server.listen(Number(process.env.PORT ?? 8000), process.env.HOST ?? '0.0.0.0', () => {
  console.log(`listening on ${server.address().port}`);
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
