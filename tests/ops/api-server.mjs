// So much of a Kubernetes API server as `helm template --dry-run=server` asks for: what there is, and one Deployment.
import { createServer } from 'node:http';
import { writeFileSync } from 'node:fs';

const KINDS = {
  v1: ['ServiceAccount', 'ConfigMap', 'Service', 'Secret', 'Pod'],
  'apps/v1': ['Deployment'],
  'autoscaling/v2': ['HorizontalPodAutoscaler'],
  'keda.sh/v1alpha1': ['ScaledObject'],
  'networking.k8s.io/v1': ['Ingress', 'NetworkPolicy'],
  'policy/v1': ['PodDisruptionBudget'],
};

const OWNED = {
  labels: { 'app.kubernetes.io/managed-by': 'Helm' },
  annotations: { 'meta.helm.sh/release-name': 'r', 'meta.helm.sh/release-namespace': 'default' },
};

const groups = Object.keys(KINDS).filter((groupVersion) => groupVersion.includes('/')).map((groupVersion) => {
  const [name, version] = groupVersion.split('/');
  return { name, versions: [{ groupVersion, version }], preferredVersion: { groupVersion, version } };
});

const plural = (kind) => kind.toLowerCase().replace(/y$/, 'ie') + (kind.endsWith('ss') ? 'es' : 's');

/** Answers with these Deployments by name; resolves to its kubeconfig's arguments and a way to stop it. */
export async function apiServer(deployments, file) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const say = (status, body) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    const name = /^\/apis\/apps\/v1\/namespaces\/[^/]+\/deployments\/([^/]+)$/.exec(pathname)?.[1];
    if (pathname === '/version') return say(200, { major: '1', minor: '35', gitVersion: 'v1.35.0' });
    if (pathname === '/api') return say(200, { kind: 'APIVersions', versions: ['v1'] });
    if (pathname === '/apis') return say(200, { kind: 'APIGroupList', apiVersion: 'v1', groups });
    const groupVersion = pathname.replace(/^\/apis?\//, '');
    if (KINDS[groupVersion]) {
      const resources = KINDS[groupVersion].map((kind) => ({ name: plural(kind), singularName: kind.toLowerCase(), namespaced: true, kind, verbs: ['get'] }));
      return say(200, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources });
    }
    if (name && deployments[name]) return say(200, { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, ...OWNED }, spec: deployments[name] });
    return say(404, { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404 });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const config = {
    apiVersion: 'v1', kind: 'Config', 'current-context': 'test',
    clusters: [{ name: 'test', cluster: { server: `http://127.0.0.1:${server.address().port}` } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }], users: [{ name: 'test', user: {} }],
  };
  writeFileSync(file, JSON.stringify(config));
  return { args: ['--kubeconfig', file], stop: () => { server.close(); server.closeAllConnections(); } };
}
