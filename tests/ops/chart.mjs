// The chart: lint, every file of helm/ci rendered and held against the Kubernetes schemas, what must be in the output,
// what the schema must refuse, and nodes of the binary that run with what the chart gives them.
import { cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Cluster, Program } from '../node/cluster.mjs';
import { apiServer } from './api-server.mjs';
import { assert, check, finish, root, run, runBeside, skip, tool, yaml } from './tools.mjs';

const VERSIONS = ['1.30', '1.33', '1.35'];
// The API server knows their kinds only from their operators.
const CUSTOM = [
  'ServiceMonitor', 'PrometheusRule', 'HTTPRoute', 'ScaledObject', 'BackendConfig', 'ServersTransport', 'Middleware', 'VirtualService',
  'DestinationRule',
];
const binary = resolve(process.env.SIGNALING_BIN ?? join(root, 'target/debug/onlycare-signaling'));
const chart = join(root, 'helm');
const helm = tool('helm');
const validate = tool('kubernetes-validate');
const work = mkdtempSync(join(tmpdir(), 'chart-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

await check('derived files are fresh', () => run('node', [join(root, 'scripts/chart-tables.mjs'), '--check']).stdout || undefined);

if (!helm) {
  skip('chart', 'helm is not there');
  finish('chart');
}

const rendered = {};
for (const file of readdirSync(join(chart, 'ci'))) {
  const name = basename(file, '-values.yaml');
  const values = join(chart, 'ci', file);
  await check(`${name}: lint`, () => {
    const { ok, text } = run(helm, ['lint', '--strict', chart, '-f', values]);
    assert(ok && !text.includes('[WARNING]'), text);
  });
  await check(`${name}: template`, () => {
    const { ok, stdout, text } = run(helm, ['template', 'r', chart, '-f', values]);
    assert(ok, text);
    const objects = yaml(stdout);
    rendered[name] = new Map(objects.map((object) => [`${object.kind}/${object.metadata.name}`, object]));
    const native = objects.filter(({ kind }) => !CUSTOM.includes(kind));
    writeFileSync(join(work, `${name}.yaml`), native.map((object) => JSON.stringify(object)).join('\n---\n'));
  });
}

if (validate) {
  for (const version of VERSIONS) {
    await check(`schemas of Kubernetes ${version}`, () => {
      const files = Object.keys(rendered).map((name) => join(work, `${name}.yaml`));
      const { ok, text } = run(validate, ['--strict', '--quiet', '-k', version, ...files]);
      assert(ok, text);
    });
  }
} else skip('Kubernetes schemas', 'kubernetes-validate is not there');

await check('a package carries dashboards and rules as files', () => {
  assert(run(helm, ['package', chart, '-d', work]).ok, 'helm package');
  const archive = readdirSync(work).find((name) => name.endsWith('.tgz'));
  const listed = run('tar', ['-tvzf', join(work, archive)]).stdout.split('\n');
  for (const wanted of [...readdirSync(join(chart, 'dashboards')), 'rules/signaling.yml']) {
    assert(listed.some((line) => line.startsWith('-') && line.endsWith(wanted)), `${wanted} is not in the package`);
  }
});

await check('install, without a cluster', () => {
  const { ok, text } = run(helm, ['install', 'r', chart, '--dry-run=client', '-f', join(chart, 'ci/default-values.yaml')]);
  assert(ok && text.includes('Two phones, two nodes'), text);
});

const of = (name, kind) => [...(rendered[name]?.values() ?? [])].filter((object) => object.kind === kind);
const deployment = (name) => of(name, 'Deployment').find(({ spec }) => spec.template.metadata.labels['app.kubernetes.io/component'] === 'node');
const pod = (name) => deployment(name).spec.template;
const service = (name, end) => of(name, 'Service').find(({ metadata }) => metadata.name.endsWith(end));
const render = (...set) => run(helm, ['template', 'r', chart, ...set.flatMap((text) => ['--set-json', text])]);

for (const name of Object.keys(rendered)) {
  await check(`${name}: hardened`, () => {
    const pods = [...of(name, 'Deployment').map(({ spec }) => spec.template.spec), ...of(name, 'Pod').map(({ spec }) => spec)];
    for (const { automountServiceAccountToken, securityContext, containers, initContainers = [] } of pods) {
      assert(automountServiceAccountToken === false, 'a token is mounted');
      assert(securityContext.runAsNonRoot && securityContext.seccompProfile.type === 'RuntimeDefault', 'pod');
      for (const { securityContext: inner } of [...containers, ...initContainers]) {
        assert(inner.readOnlyRootFilesystem === true && inner.allowPrivilegeEscalation === false, 'container');
        assert(inner.capabilities.drop.includes('ALL'), 'capabilities');
      }
    }
    for (const account of of(name, 'ServiceAccount')) assert(account.automountServiceAccountToken === false, 'account');
  });
  await check(`${name}: the drain fits into the grace`, () => {
    const { spec } = pod(name);
    const data = of(name, 'ConfigMap').find(({ data }) => data.DRAIN_SECS).data;
    const sleep = spec.containers[0].lifecycle?.preStop.sleep.seconds ?? 0;
    const needed = sleep + Number(data.DRAIN_DELAY_SECS) + Number(data.DRAIN_SECS);
    assert(spec.terminationGracePeriodSeconds >= needed + 5, `${spec.terminationGracePeriodSeconds} s for ${needed} s`);
    const { rollingUpdate } = deployment(name).spec.strategy;
    assert(rollingUpdate.maxUnavailable === 0 && rollingUpdate.maxSurge === 1, 'rollout');
  });
  await check(`${name}: probes`, () => {
    const { startupProbe, livenessProbe, readinessProbe } = pod(name).spec.containers[0];
    const paths = [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => `${httpGet.port}${httpGet.path}`);
    assert(`${paths}` === 'admin/live,admin/live,admin/ready', `${paths}`);
  });
  await check(`${name}: no secret outside of Secrets`, () => {
    for (const object of rendered[name].values()) {
      if (object.kind === 'Secret') continue;
      assert(!/changeme|redis:\/\//.test(JSON.stringify(object)), `${object.kind} ${object.metadata.name}`);
    }
  });
}

await check('only three paths are published', () => {
  const paths = of('ingress', 'Ingress')[0].spec.rules.map(({ http }) => http.paths.map(({ path, pathType }) => `${pathType} ${path}`));
  assert(paths.length === 2 && paths.every((list) => `${list}` === 'Prefix /socket.io/,Exact /health,Exact /socket-health'), `${paths}`);
  const [{ matches }] = of('http-route', 'HTTPRoute')[0].spec.rules;
  assert(`${matches.map(({ path }) => path.value)}` === '/socket.io/,/health,/socket-health', JSON.stringify(matches));
  assert(!of('default', 'Ingress').length, 'an Ingress that nobody asked for');
});

await check('no public Service shows the admin port', () => {
  for (const service of of('load-balancer', 'Service').filter(({ spec }) => spec.clusterIP !== 'None')) {
    const only = service.metadata.name.endsWith('-api') ? 'http' : 3001;
    assert(service.spec.ports.every(({ targetPort }) => targetPort === only), JSON.stringify(service.spec));
  }
});

await check('network policy', () => {
  const { ingress, egress, policyTypes } = of('network-policy', 'NetworkPolicy')[0].spec;
  assert(`${policyTypes}` === 'Ingress,Egress' && ingress.length === 3 && egress.length === 6, 'rules');
  const opens = (rules, place) => `${rules[place].ports.map(({ port }) => port)}`;
  assert(opens(ingress, 0) === '3001,3002' && opens(ingress, 1) === '3001,admin', `ports: ${JSON.stringify(ingress)}`);
  assert(ingress.every(({ from }) => from.length), 'somebody may come in who was not named');
  assert(egress.every(({ to }) => to.length), 'somewhere may be gone that was not named');
});

await check('scaling', () => {
  const { metrics, behavior } = of('autoscaling', 'HorizontalPodAutoscaler')[0].spec;
  assert(metrics.length === 1 && metrics[0].pods.metric.name === 'signaling_sessions', 'metric');
  assert(metrics[0].pods.target.averageValue === '1200000', metrics[0].pods.target.averageValue);
  assert(behavior.scaleDown.stabilizationWindowSeconds === 1800 && behavior.scaleUp.stabilizationWindowSeconds === 0, 'pace');
  const own = of('autoscaling-cpu', 'HorizontalPodAutoscaler')[0].spec;
  assert(`${own.metrics.map(({ type }) => type)}` === 'Resource,External' && own.behavior.scaleDown.policies[0].type === 'Percent', 'own metrics');
  const { spec } = of('keda', 'ScaledObject')[0];
  assert(spec.minReplicaCount === 4 && spec.maxReplicaCount === 20 && spec.scaleTargetRef.name === deployment('keda').metadata.name, 'ScaledObject');
  const [{ metadata, authenticationRef }, cron] = spec.triggers;
  assert(metadata.query === 'sum(signaling_sessions{namespace="default",release="r"})' && metadata.threshold === '1200000', JSON.stringify(metadata));
  assert(authenticationRef.name === 'prometheus' && cron.type === 'cron', 'triggers');
  assert(metadata.ignoreNullValues === 'false', 'a Prometheus that lost its targets takes nodes away: nothing counts as no sessions');
  assert(!spec.fallback, 'a Prometheus that is away takes nodes away: before 2.17 KEDA passes over `behavior` and sets `replicas` at once');
  const { scaleDown } = spec.advanced.horizontalPodAutoscalerConfig.behavior;
  assert(scaleDown.stabilizationWindowSeconds === 1800 && !of('keda', 'HorizontalPodAutoscaler').length, 'pace');
});

for (const [kind, set] of [['autoscaling', []], ['KEDA', ['--set', 'autoscaling.enabled=false,keda.enabled=true,keda.serverAddress=http://prometheus']]]) {
  await check(`switching ${kind} on keeps the nodes that run`, async () => {
    const values = ['-f', join(chart, 'ci/autoscaling-values.yaml'), ...set];
    const replicas = async (deployments) => {
      const server = await apiServer(deployments, join(work, 'kubeconfig'));
      const { ok, stdout, text } = await runBeside(helm, ['template', 'r', chart, '--dry-run=server', '--disable-openapi-validation', ...values, ...server.args]);
      server.stop();
      assert(ok, text);
      return yaml(stdout).find(({ kind: found }) => found === 'Deployment').spec.replicas;
    };
    const [six, fresh] = [await replicas({ 'r-onlycare-signaling': { replicas: 6 } }), await replicas({})];
    assert(six === 6, `six nodes became ${six}: a Deployment that does not say how many is set to one`);
    assert(fresh === 4, `a fresh installation starts with ${fresh} nodes, not minReplicas`);
  });
}

await check('an autoscaler by something else, or without a limit, may have any number', () => {
  const base = ['existingSecret="s"', 'config={"LARAVEL_API_URL":"https://laravel.test","MAX_SESSIONS":0}'];
  assert(render(...base, 'autoscaling={"enabled":true,"sessionsPerNode":90000}').ok, 'no limit');
  const cpu = '[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":60}}}]';
  assert(render(base[0], 'config={"LARAVEL_API_URL":"https://laravel.test","MAX_SESSIONS":"10000"}', `autoscaling={"enabled":true,"metrics":${cpu}}`).ok, 'CPU');
});

await check('options of the Service', () => {
  const { spec } = service('load-balancer', 'signaling');
  const wanted = {
    type: 'LoadBalancer', externalTrafficPolicy: 'Local', loadBalancerClass: 'service.k8s.aws/nlb', ipFamilyPolicy: 'PreferDualStack',
    loadBalancerSourceRanges: ['203.0.113.0/24', '2001:db8::/32'], ipFamilies: ['IPv6', 'IPv4'],
    ports: [{ name: 'http', port: 80, targetPort: 3001, nodePort: 30080, appProtocol: 'kubernetes.io/ws' }],
  };
  for (const [key, value] of Object.entries(wanted)) assert(JSON.stringify(spec[key]) === JSON.stringify(value), `${key}: ${JSON.stringify(spec[key])}`);
  assert(`${service('load-balancer', '-nodes').spec.ipFamilies}` === 'IPv6,IPv4', 'nodes are reached by other families');
  const plain = service('default', 'signaling').spec;
  assert(`${Object.keys(plain)}` === 'type,selector,ports', `an option that nobody set: ${Object.keys(plain)}`);
});

await check('Laravel has a Service of its own, inside the cluster', () => {
  const { spec, metadata } = service('load-balancer', '-api');
  assert(spec.type === 'ClusterIP' && spec.ports[0].port === 8080 && metadata.annotations, JSON.stringify(spec));
  assert(!JSON.stringify([of('ingress', 'Ingress'), of('http-route', 'HTTPRoute')]).includes('-api'), 'it is published');
  assert(JSON.stringify(spec.selector) === JSON.stringify(service('load-balancer', '-nodes').spec.selector), 'selector');
  for (const variant of ['default', 'load-balancer']) {
    const data = environment(variant);
    assert(data.PORT === '3001' && data.API_PORT === '3002', JSON.stringify(data));
    const [container] = pod(variant).spec.containers;
    const name = service(variant, '-api').spec.ports[0].targetPort;
    assert(container.ports.find((port) => port.name === name).containerPort === 3002, JSON.stringify(container.ports));
    // Published by number: a name would lead elsewhere at pods of another chart.
    assert(service(variant, 'signaling').spec.ports.every(({ targetPort }) => targetPort === 3001), 'phones reach /api/');
  }
  const without = yaml(run(helm, ['template', 'r', chart, '-f', join(chart, 'ci/default-values.yaml'), '--set', 'apiService.enabled=false']).stdout);
  const ports = without.flatMap((object) => object?.spec?.template?.spec?.containers?.flatMap(({ ports = [] }) => ports) ?? []);
  assert(ports.find(({ name }) => name === 'http').containerPort === 3001 && !JSON.stringify(without).includes('3002'), 'a port that nobody asked for');
});

await check('HTTPRoute: annotations, filters, timeouts, the listener of a gateway', () => {
  const { metadata, spec } = of('http-route', 'HTTPRoute')[0];
  assert(spec.parentRefs[0].sectionName === 'https' && metadata.annotations['external-dns.alpha.kubernetes.io/hostname'], 'metadata');
  const [{ filters, timeouts }] = spec.rules;
  assert(filters[0].type === 'ResponseHeaderModifier' && timeouts.request === '0s', JSON.stringify(spec.rules));
});

// The scheduler passes over a machine without one of the keys that should be spread by, and starts nothing there that has to be.
await check('apart by machine where machines carry no zone', () => {
  const [{ weight, podAffinityTerm }] = pod('default').spec.affinity?.podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [{}];
  assert(weight && podAffinityTerm.topologyKey === 'kubernetes.io/hostname', 'nothing keeps nodes from one machine');
  assert(JSON.stringify(podAffinityTerm.labelSelector) === JSON.stringify(deployment('default').spec.selector), 'of other pods');
  const { nodeAffinity, podAntiAffinity } = pod('placement').spec.affinity;
  assert(nodeAffinity && podAntiAffinity, 'own affinity');
  const spread = (...set) => {
    const { ok, stdout, text } = render('existingSecret="s"', 'config={"LARAVEL_API_URL":"https://laravel.test"}', ...set);
    assert(ok, text);
    return yaml(stdout).find(({ kind }) => kind === 'Deployment').spec.template.spec;
  };
  const hard = spread('topologySpread={"whenUnsatisfiable":"DoNotSchedule","zones":false}').topologySpreadConstraints;
  assert(`${hard.map(({ topologyKey }) => topologyKey)}` === 'kubernetes.io/hostname', 'spread by zones that there are not');
  assert(`${spread().topologySpreadConstraints.map(({ topologyKey }) => topologyKey)}`.endsWith('zone'), 'zones');
  const own = '{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{},"topologyKey":"rack"}]}';
  assert(JSON.stringify(spread(`affinity={"podAntiAffinity":${own}}`).affinity) === `{"podAntiAffinity":${own}}`, 'own anti-affinity');
});

await check('the registry\'s Secret is there for every image', () => {
  const { ok, stdout, text } = render('imagePullSecrets=[{"name":"registry"}]', 'redis={"demo":{"enabled":true}}');
  assert(ok, text);
  const pods = yaml(stdout).map(({ kind, spec }) => ({ Pod: spec, Deployment: spec?.template?.spec })[kind]).filter(Boolean);
  const without = pods.filter(({ imagePullSecrets }) => imagePullSecrets?.[0].name !== 'registry').map(({ containers: [{ image }] }) => image);
  assert(pods.length === 3 && !without.length, `${without}`);
});

await check('everything that can be added to a pod', () => {
  const { spec } = pod('extra');
  const [node, logs] = spec.containers;
  assert(logs.name === 'logs' && spec.initContainers[0].name === 'wait', 'containers');
  assert(node.lifecycle.postStart.exec && node.lifecycle.preStop.sleep.seconds === 5, JSON.stringify(node.lifecycle));
  assert(node.envFrom.some(({ configMapRef }) => configMapRef?.name === 'more'), 'envFrom');
  assert(node.volumeMounts.some(({ mountPath }) => mountPath === '/tmp') && spec.volumes.some(({ name }) => name === 'scratch'), 'volumes');
  assert(spec.hostAliases[0].ip === '10.1.2.3' && spec.dnsConfig.options[0].name === 'ndots' && spec.dnsPolicy === 'ClusterFirst', 'names');
  assert(spec.runtimeClassName === 'gvisor' && spec.priorityClassName === 'calls', 'classes');
  assert(deployment('extra').metadata.annotations['reloader.stakater.com/auto'] === 'true', 'annotations');
  assert(rendered.extra.get('ConfigMap/r-onlycare-signaling-more').data.release === 'r', 'extraObjects');
  const own = render('existingSecret="s"', 'config={"LARAVEL_API_URL":"https://l.test"}', 'lifecycle={"preStop":{"exec":{"command":["true"]}}}');
  const { lifecycle } = yaml(own.stdout).find(({ kind }) => kind === 'Deployment').spec.template.spec.containers[0];
  assert(lifecycle.preStop.exec && !lifecycle.preStop.sleep, 'a preStop of one\'s own');
});

await check('a private CA is trusted beside the public ones', () => {
  const { spec } = pod('extra');
  const env = Object.fromEntries(spec.containers[0].env.map(({ name, value }) => [name, value]));
  const mount = spec.containers[0].volumeMounts.find(({ name }) => name === 'private-ca');
  assert(env.SSL_CERT_DIR === mount.mountPath && mount.readOnly, 'SSL_CERT_DIR');
  const image = readFileSync(join(root, 'Dockerfile'), 'utf8');
  assert(image.includes(`/image${env.SSL_CERT_FILE}`), `the image has no ${env.SSL_CERT_FILE}`);
  assert(spec.volumes.find(({ name }) => name === 'private-ca').configMap.name === 'company-ca', 'volume');
  assert(!pod('default').spec.containers[0].env.some(({ name }) => name.startsWith('SSL_CERT')), 'without being asked');
});

await check('egress follows the configured addresses', () => {
  const ports = (text) => {
    const { egress } = yaml(text).find(({ kind }) => kind === 'NetworkPolicy').spec;
    // After names and other nodes.
    return egress.slice(2).map((rule) => rule.ports.map(({ port }) => port).join('+')).join(' ');
  };
  const secret = (url) => `secrets={"REDIS_URL":"${url}"}`;
  const config = (more) => `config=${JSON.stringify({ LARAVEL_API_URL: 'https://laravel.test', ...more })}`;
  const cases = [
    ['6379 443', secret('redis://redis'), config({})],
    ['6380 8443', secret('rediss://user:p%40ss@redis.test:6380/0'), config({ LARAVEL_API_URL: 'https://laravel.test:8443/api/v1' })],
    ['26380+26381+6379 80', secret('redis-sentinel://s1:26380?sentinelServiceName=x&node=s2:26381'), config({ LARAVEL_API_URL: 'http://laravel' })],
    ['6379+26379 443', 'existingSecret="s"', config({})],
    ['7000+7001 443', secret('redis-cluster://c1:7000?node=c2:7001'), config({})],
    ['6379 443', secret('redis://[2001:db8::1]'), config({ LARAVEL_API_URL: 'https://[2001:db8::2]/api/v1' })],
    // A Service's name: the policy is about the pods behind it.
    ['6379 8000', secret('redis://redis'), config({ LARAVEL_API_URL: 'http://laravel' }), 'networkPolicy.laravel.ports=[8000]'],
    ['16379 8000 8000', secret('redis://redis.data.svc.cluster.local'), config({ LARAVEL_API_URL: 'http://laravel.shop.svc', WEBHOOK_URL: 'http://laravel.shop.svc/webhooks' }), 'networkPolicy={"redis":{"ports":[16379]},"laravel":{"ports":[8000]}}'],
    ['6379 443 9443 4318', secret('redis://redis:6379'), config({ WEBHOOK_URL: 'https://hooks.test:9443/x', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' })],
  ];
  for (const [wanted, ...set] of cases) {
    const { ok, stdout, text } = render(...set);
    assert(ok && ports(stdout) === wanted, ok ? `${set}: ${ports(stdout)}, not ${wanted}` : text);
  }
});

await check('egress that would close a configured address is refused, with what to add', () => {
  const base = ['secrets={"REDIS_URL":"redis://redis.test:6380"}', 'config={"LARAVEL_API_URL":"https://laravel.test:8443","WEBHOOK_URL":"https://hooks.test/"}'];
  const peers = '[{"ipBlock":{"cidr":"10.0.0.0/8"}}]';
  for (const [set, wanted] of [
    ['networkPolicy.redis.ports=[6379]', 'REDIS_URL uses port 6380, which the NetworkPolicy would close: add it to networkPolicy.redis.ports'],
    ['networkPolicy.laravel.ports=[443]', 'LARAVEL_API_URL uses port 8443'],
    [`networkPolicy.laravel.to=${peers}`, 'set networkPolicy.webhook.to'],
  ]) {
    const { ok, text } = render(...base, set);
    assert(!ok && text.includes(wanted), `${set}: ${text.slice(-400)}`);
    assert(!text.includes('redis://'), 'an address is printed');
  }
  const rule = '[{"ports":[{"protocol":"TCP","port":6380}]}]';
  assert(render(...base, 'networkPolicy.redis.ports=[6379]', `networkPolicy.extraEgress=${rule}`).ok, 'a rule of one\'s own is not seen');
  const names = of('default', 'NetworkPolicy')[0].spec.egress[0];
  assert(names.to.some(({ ipBlock }) => ipBlock) && JSON.stringify(names.to).includes('openshift-dns') && names.ports.some(({ port }) => port === 5353), 'DNS');
});

await check('values for controllers outlast the longest silence and try another node', () => {
  const annotations = (name) => of(name, 'Ingress')[0].metadata.annotations;
  const nginx = annotations('ingress-nginx');
  assert(Number(nginx['nginx.ingress.kubernetes.io/proxy-read-timeout']) > 25 && Number(nginx['nginx.ingress.kubernetes.io/proxy-send-timeout']) > 25, 'nginx');
  // A handshake is a GET; what a phone posts is not to arrive twice.
  const again = nginx['nginx.ingress.kubernetes.io/proxy-next-upstream'].split(' ');
  const shipped = Number(/proxy_next_upstream_timeout (\d+)s;/.exec(readFileSync(join(root, 'deploy/nginx/signaling-locations.conf'), 'utf8'))[1]);
  assert(Number(nginx['nginx.ingress.kubernetes.io/proxy-next-upstream-timeout']) === shipped, 'nginx: one handshake is held by three busy nodes in turn');
  assert(again.includes('http_503') && !again.includes('non_idempotent'), `nginx: a full node: ${again}`);
  assert(Number(/idle_timeout.timeout_seconds=(\d+)/.exec(annotations('alb')['alb.ingress.kubernetes.io/load-balancer-attributes'])[1]) > 25, 'ALB');
  const { spec } = of('gke', 'BackendConfig')[0];
  assert(spec.timeoutSec > 25 && spec.healthCheck.requestPath === '/health' && annotations('alb')['alb.ingress.kubernetes.io/healthcheck-path'] === '/health', 'health');
  assert(JSON.parse(service('gke', 'signaling').metadata.annotations['cloud.google.com/backend-config']).default === of('gke', 'BackendConfig')[0].metadata.name, 'GKE');
  const retry = of('traefik', 'Middleware')[0];
  assert(`${retry.spec.retry.status}` === '503' && !retry.spec.retry.retryNonIdempotentMethod, `Traefik: a full node: ${JSON.stringify(retry.spec)}`);
  assert(annotations('traefik')['traefik.ingress.kubernetes.io/router.middlewares'].endsWith(`-${retry.metadata.name}@kubernetescrd`), 'Traefik');
  const [rule] = of('istio', 'VirtualService')[0].spec.http;
  assert(rule.timeout === '0s' && rule.route[0].destination.host === service('istio', 'signaling').metadata.name, 'Istio');
  assert(`${rule.match.map(({ uri }) => Object.values(uri))}` === '/socket.io/,/health,/socket-health', 'Istio publishes more');
  const control = of('istio', 'NetworkPolicy')[0].spec.egress.filter(({ to }) => JSON.stringify(to ?? []).includes('istio-system'));
  assert(`${control.flatMap(({ ports }) => ports.map(({ protocol, port }) => `${protocol} ${port}`))}` === 'TCP 15012', 'Istio: the proxy reaches no istiod and holds the node back');
});

await check('notes know what is set', () => {
  const notes = (...args) => run(helm, ['install', 'r', chart, '--dry-run=client', ...args]).text.split('NOTES:')[1] ?? '';
  const of_ = (name) => notes('-f', join(chart, `ci/${name}-values.yaml`));
  for (const [text, wanted, not] of [
    [of_('default'), 'http://r-onlycare-signaling-api.default:3001', 'NOT FOR PRODUCTION'],
    [of_('default'), 'Phones reach nothing yet', 'TRUSTED_PROXIES'],
    [of_('ingress'), 'https://calls.test/health', 'Phones reach nothing'],
    [of_('ingress'), 'TRUSTED_PROXIES', 'secrets are part'],
    [of_('load-balancer'), 'get service r-onlycare-signaling, port 80', 'Phones reach nothing'],
    [of_('load-balancer'), 'Phones: the address', 'It publishes /api/ too'],
    [notes('-f', join(chart, 'ci/load-balancer-values.yaml'), '--set', 'apiService.enabled=false'), 'It publishes /api/ too', 'Phones reach nothing'],
    [of_('demo'), 'NOT FOR PRODUCTION', 'the pods\' port counts'],
    [notes('-f', join(chart, 'ci/default-values.yaml'), '--set', 'config.LARAVEL_API_URL=http://laravel'), 'opens port 80 for laravel, which is a Service: the pods\' port counts', 'NOT FOR PRODUCTION'],
    [notes('-f', join(chart, 'ci/default-values.yaml'), '--set', 'config.LARAVEL_API_URL=http://laravel.shop'), 'opens port 80 for laravel. If laravel.shop is a Service, the pods\' port counts: where it differs write\n  laravel.shop.svc and set networkPolicy.laravel.ports', 'for laravel, which is'],
    [notes('-f', join(chart, 'ci/default-values.yaml'), '--set', 'config.LARAVEL_API_URL=https://laravel.shop'), 'No alerts', 'laravel.shop is a Service'],
    [notes('-f', join(chart, 'ci/network-policy-values.yaml')), 'No alerts', 'laravel.shop is a Service'],
    [of_('default'), 'No alerts', 'opens port 443'],
    [of_('default'), 'LARAVEL_API_SECRET here', '/api/ IS OFF'],
    [notes('-f', join(chart, 'ci/existing-secret-values.yaml'), '--set', 'secretKeys={REDIS_URL,NODE_SECRET}'), '/api/ IS OFF: no LARAVEL_API_SECRET is given (secretKeys leaves it out)', 'secrets are part'],
    [of_('demo'), 'ANYBODY CAN CONNECT AS ANYBODY', 'secrets are part'],
    [notes('-f', join(chart, 'ci/load-balancer-values.yaml'), '--set', 'apiService.enabled=false'), 'http://r-onlycare-signaling.default:80', '-api'],
  ]) assert(text.includes(wanted) && !text.includes(not), `${wanted} / ${not}:\n${text}`);
});

await check('usable when copied alone', () => {
  const links = readdirSync(chart, { recursive: true }).filter((path) => lstatSync(join(chart, path)).isSymbolicLink());
  assert(!links.length, `links: ${links}`);
  const alone = join(work, 'alone');
  cpSync(chart, alone, { recursive: true });
  const { ok, stdout, text } = run(helm, ['template', 'r', alone, '-f', join(alone, 'ci/monitoring-values.yaml')]);
  assert(ok && yaml(stdout).filter(({ metadata }) => metadata.labels.grafana_dashboard).length >= 3, text.slice(0, 500));
});

await check('what a chart says of itself', () => {
  const [about] = yaml(readFileSync(join(chart, 'Chart.yaml'), 'utf8'));
  for (const key of ['home', 'icon']) assert(/^https:\/\//.test(about[key]), key);
  assert(existsSync(join(chart, basename(about.icon))) && about.sources.length && about.keywords.length > 3, 'icon, sources, keywords');
  for (const key of ['category', 'license', 'links', 'changes']) assert(about.annotations[`artifacthub.io/${key}`], key);
  const readme = readFileSync(join(chart, 'README.md'), 'utf8');
  assert(readme.indexOf('redis.demo.enabled=true') > 0 && readme.indexOf('redis.demo.enabled=true') < 1200, 'a quick start');
  assert(!/\]\(\.\.\//.test(readme), 'a link out of the chart');
  assert(readme.includes('RespectIgnoreDifferences=true') && readme.includes('/spec/replicas'), 'what renders without a cluster undoes the autoscaler');
});

/** What the container of a node would have in its environment. */
function environment(name) {
  const files = join(work, `${name}-secrets`);
  mkdirSync(files, { recursive: true });
  const made = { LARAVEL_API_SECRET: 's', NODE_SECRET: 'n', REDIS_URL: 'redis://127.0.0.1:6379', WEBHOOK_SECRET: `whsec_${Buffer.alloc(24, 'k').toString('base64')}`, ...of(name, 'Secret')[0]?.stringData };
  for (const [key, value] of Object.entries(made)) writeFileSync(join(files, key), value);
  const own = pod(name).spec.containers[0].env.filter(({ name: key }) => !key.startsWith('SSL_')).map(({ name: key, value }) => [key, value]);
  const entries = [...Object.entries(of(name, 'ConfigMap').find(({ data }) => data.DRAIN_SECS).data), ...own].filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([key, value]) => [key, value.replace('[$(POD_IP)]', '[::1]').replace('$(POD_IP)', '127.0.0.1').replace('/run/secrets/signaling', files)]));
}

if (existsSync(binary)) {
  for (const name of Object.keys(rendered)) {
    await check(`${name}: the node accepts what it is given`, () => {
      const { ok, text } = run(binary, ['--check-config'], { env: environment(name), cwd: work });
      assert(ok && !/warn/i.test(text.replace(/^.*AUTH=insecure: .*$/m, '')), text);
    });
  }
  await check('the demo makes a call', async () => {
    const { PORT, API_PORT, ADMIN_PORT, HOST, NODE_ADDRESS, REDIS_URL_FILE, ...options } = environment('demo');
    assert(PORT && API_PORT && ADMIN_PORT && HOST && NODE_ADDRESS && REDIS_URL_FILE, 'options');
    assert(readFileSync(REDIS_URL_FILE, 'utf8') === `redis://${service('demo', '-demo-redis').metadata.name}:6379`, 'another Redis than the demo\'s');
    const cluster = await Cluster.start(['a', 'b'], { ...options, API_PORT: '0', DRAIN_DELAY_SECS: '0', DRAIN_SECS: '0' });
    const test = of('demo', 'Pod')[0].spec.containers[0];
    const env = Object.fromEntries(test.env.map(({ name, value }) => [name, value]));
    const NODES = cluster.nodes.map(({ url }) => url).join();
    const { ok, text } = await runBeside(process.execPath, [join(chart, 'files/call.mjs')], { env: { PATH: process.env.PATH, ...env, NODES } });
    assert(ok && text.includes('heard the accept'), text);
    assert(!cluster.faults().length, cluster.faults().join('\n'));
  });
  if (tool('redis-server')) {
    await check('the arguments of the demo\'s Redis start one', async () => {
      const { args } = of('demo', 'Deployment').find(({ metadata }) => metadata.name.endsWith('-demo-redis')).spec.template.spec.containers[0];
      const redis = new Program('demo-redis', tool('redis-server'), [...args, '--port', '0', '--unixsocket', join(work, 'redis.sock')]);
      await redis.until(() => redis.lines.some((line) => /accept connections/.test(line)), 'accept connections');
      redis.kill();
    });
  }
} else skip('nodes with what the chart gives them', `${binary} is not there`);

await check('numbers stay numbers', () => {
  assert(of('existing-secret', 'ConfigMap')[0].data.HANDSHAKES_PER_SECOND === '1000000', 'HANDSHAKES_PER_SECOND');
  assert(of('autoscaling', 'ConfigMap')[0].data.MAX_SESSIONS === '2000000', 'MAX_SESSIONS');
});

await check('existingSecret', () => {
  assert(!of('existing-secret', 'Secret').length, 'a Secret of the chart');
  const names = pod('existing-secret').spec.containers[0].env.map(({ name }) => name);
  for (const name of ['REDIS_URL_FILE', 'LARAVEL_API_SECRET_FILE', 'NODE_SECRET_FILE']) assert(names.includes(name), name);
});

await check('a change of configuration restarts the nodes', () => {
  const sums = ['', '--set=config.LOG_LEVEL=debug', '--set=secrets.REDIS_URL=redis://other'].map((set) => {
    const arguments_ = ['template', 'r', chart, '-f', join(chart, 'ci/default-values.yaml'), set].filter(Boolean);
    const deployment = yaml(run(helm, arguments_).stdout).find(({ kind }) => kind === 'Deployment');
    return JSON.stringify(deployment.spec.template.metadata.annotations);
  });
  assert(new Set(sums).size === 3, sums.join('\n'));
});

await check('rules and dashboards are the shipped ones', () => {
  const [{ groups }] = yaml(readFileSync(join(root, 'deploy/prometheus/rules/signaling.yml'), 'utf8'));
  const { spec } = structuredClone(of('monitoring', 'PrometheusRule')[0]);
  const text = JSON.stringify(spec.groups);
  assert(text.includes('https://git.test/signaling/blob/main/docs/operations.md#'), 'runbook links');
  const own = ',namespace="default",release="r"';
  const escaped = (text) => JSON.stringify(text).slice(1, -1);
  const plain = (list) => JSON.parse(JSON.stringify(list).replaceAll(escaped(own), '').replaceAll(escaped(`{${own.slice(1)}}`), '').replaceAll('https://git.test/signaling/', 'https://github.com/onlycare/onlycare-signaling/'));
  const wanted = (list) => list.flatMap(({ rules }) => rules).find(({ record }) => record === 'signaling:nodes_wanted');
  const { expr } = wanted(spec.groups);
  assert(expr.includes('vector(3)') && expr.includes('kube_deployment_spec_replicas{namespace="default",deployment="r-onlycare-signaling"}'), expr);
  wanted(groups).expr = wanted(spec.groups).expr = '';
  assert(isDeepStrictEqual(plain(spec.groups), groups), 'rules differ');
  for (const { alert, record, expr: narrow } of spec.groups.flatMap(({ rules }) => rules)) {
    assert(!/job="signaling"(?!,namespace="default",release="r")/.test(narrow), `${alert ?? record} is about other releases`);
    assert(!/signaling:[\w:]+(?!\{namespace="default",release="r"\})(?![\w:])/.test(narrow), `${alert ?? record} reads what other releases recorded`);
  }
  if (tool('promtool')) {
    const file = join(work, 'rules.yml');
    writeFileSync(file, text.replace(/^/, '{"groups":').replace(/$/, '}'));
    const checked = run(tool('promtool'), ['check', 'rules', file]);
    assert(checked.ok, checked.text);
  }
  const [{ relabelings }] = of('monitoring', 'ServiceMonitor')[0].spec.endpoints;
  assert(relabelings.some(({ targetLabel, replacement }) => targetLabel === 'release' && replacement === 'r'), 'nodes are measured without their release');
  const shipped = readdirSync(join(root, 'deploy/grafana/dashboards'));
  const maps = of('monitoring', 'ConfigMap').filter(({ metadata }) => metadata.labels.grafana_dashboard);
  assert(maps.length === shipped.length && shipped.length >= 3, `${maps.length} dashboards`);
  for (const { data } of maps) {
    const [[file, content]] = Object.entries(data);
    const original = readFileSync(join(root, 'deploy/grafana/dashboards', file), 'utf8');
    assert(JSON.stringify(JSON.parse(content)) === JSON.stringify(JSON.parse(original)), file);
  }
});

if (tool('promtool')) {
  await check('as many nodes are wanted as the Deployment has', () => {
    const rules = join(work, 'rendered-rules.yml');
    writeFileSync(rules, JSON.stringify({ groups: of('monitoring', 'PrometheusRule')[0].spec.groups }));
    const node = (name, values) => ['up', 'signaling_build_info'].map((metric) => ({ series: `${metric}{job="signaling",namespace="default",release="r",instance="${name}"}`, values }));
    // As kube-state-metrics has it; values.yaml says 3.
    const asked = (values) => ({ series: 'kube_deployment_spec_replicas{namespace="default",deployment="r-onlycare-signaling",instance="10.0.0.1:8080",job="kube-state-metrics",pod="ksm-0",container="ksm"}', values });
    const missing = ([eval_time, count]) => ({
      expr: 'count by (alertname) (ALERTS{alertstate="firing",alertname!="SignalingWatchdog"})', eval_time,
      exp_samples: count ? [{ labels: '{alertname="SignalingNodesMissing"}', value: count }] : [],
    });
    const storm = { series: 'signaling_storms_total{job="signaling",namespace="default",release="r",instance="a"}', values: '0x41 1x159' };
    const stories = [
      ['scaled down to two by hand', [...node('a', '1x80'), ...node('b', '1x80'), asked('2x80')], ['15m', 0]],
      ['two of four', [...node('a', '1x80'), ...node('b', '1x80'), asked('4x80')], ['15m', 1]],
      ['two of three, without kube-state-metrics', [...node('a', '1x80'), ...node('b', '1x80')], ['15m', 1]],
      ['three of three, without kube-state-metrics', ['a', 'b', 'c'].flatMap((name) => node(name, '1x80')), ['15m', 0]],
      // The first page says it all.
      ['two of three are deleted by force and what replaces them waits', [...node('a', '1x200'), ...node('b', '1x40 stale'), ...node('c', '1x40 stale'), asked('3x200'), storm],
        ['9m', 0], ['12m', 0], ['14m', 1], ['25m', 1]],
      ['a machine for the fourth comes after eight minutes', [...['a', 'b', 'c'].flatMap((name) => node(name, '1x200')), ...node('d', '_x72 1x127'), asked('3x40 4x159')],
        ['15m', 0], ['18m', 0], ['30m', 0]],
      ['a machine for the fourth never comes', [...['a', 'b', 'c'].flatMap((name) => node(name, '1x200')), asked('3x40 4x159')], ['15m', 0], ['19m', 0], ['25m', 1]],
    ];
    const file = join(work, 'stories.yml');
    const tests = stories.map(([name, input_series, ...moments]) => ({ name, interval: '15s', input_series, promql_expr_test: moments.map(missing) }));
    writeFileSync(file, JSON.stringify({ rule_files: [rules], evaluation_interval: '15s', tests }));
    const { ok, text } = run(tool('promtool'), ['test', 'rules', file]);
    assert(ok, text);
  });

  for (const [what, ill, well] of [['a namespace', ['calls', 'one'], ['calls', 'two']], ['a name', ['calls', 'one'], ['shop', 'one']]]) {
    await check(`two releases that share ${what} and a Prometheus: each is told of by its own rules, once`, () => {
      const stories = join(work, 'two-releases.yml');
      const test = (ownRules, ...tests) => {
        const rule_files = ownRules.map((groups, index) => join(work, `release-${index}.yml`));
        rule_files.forEach((file, index) => writeFileSync(file, JSON.stringify({ groups: ownRules[index] })));
        const group_eval_order = ownRules[0].map(({ name }) => name);
        writeFileSync(stories, JSON.stringify({ rule_files, evaluation_interval: '15s', group_eval_order, tests: tests.map((story) => ({ interval: '15s', ...story })) }));
        const { ok, text } = run(tool('promtool'), ['test', 'rules', stories]);
        assert(ok, text.slice(0, 3000));
      };
      const rules = [ill, well].map(([namespace, release]) => {
        const { stdout } = run(helm, ['template', release, chart, '--namespace', namespace, '-f', join(chart, 'ci/monitoring-values.yaml')]);
        return yaml(stdout).find(({ kind }) => kind === 'PrometheusRule').spec.groups;
      });
      const labels = ([namespace, release]) => `namespace="${namespace}",release="${release}"`;
      const series = (metric, release, more, values) => ({ series: `${metric}{job="signaling",${labels(release)},${more}}`, values });
      const node = (release, name, lasts) => [['up', 1], ['signaling_build_info', 1], ['signaling_sessions', 1000]]
        .map(([metric, value]) => series(metric, release, `instance="${name}"`, `${value}x${lasts}`));
      const three = (release) => ['a', 'b', 'c'].flatMap((name) => node(release, name, 320));
      const once = (alertname, summary, more = {}) => ({
        alertname, eval_time: '25m',
        exp_alerts: [{
          exp_labels: { severity: 'critical', namespace: ill[0], release: ill[1], ...more },
          exp_annotations: { summary, runbook_url: `https://git.test/signaling/blob/main/docs/operations.md#${alertname.toLowerCase()}` },
        }],
      });
      const never = (alertname) => ({ alertname, eval_time: '25m', exp_alerts: [] });
      test(rules, {
        name: 'two of three are deleted by force, with their phones',
        input_series: [...node(ill, 'a', 320), ...node(ill, 'b', '40 stale'), ...node(ill, 'c', '40 stale'), ...three(well)],
        alert_rule_test: [once('SignalingNodesMissing', 'only 1 nodes serve, fewer than wanted'), never('SignalingReconnectStorm'), never('SignalingAbsent')],
      }, {
        name: 'half of all events fail',
        input_series: [
          ...three(ill), ...three(well),
          series('signaling_event_errors_total', ill, 'instance="a",code="unavailable"', '0+10x320'),
          series('signaling_event_seconds_count', ill, 'instance="a",event="initiate"', '0+20x320'),
        ],
        alert_rule_test: [
          once('SignalingEventsFail', '50% of what phones ask for fails on our side'),
          once('SignalingBudgetBurnsFast', 'the allowance of events for a month is gone within two days: 500 times too fast', { slo: 'events' }),
        ],
      });
      // Each rule signs what it says, of all that may break.
      const signed = rules.map((groups, index) => groups.map((group) => ({ ...group, rules: group.rules.map((rule) => ({ ...rule, labels: { ...rule.labels, by: `${index}` } })) })));
      const [{ input_series: broken }] = yaml(readFileSync(join(root, 'deploy/prometheus/tests/signaling.yml'), 'utf8'))[0].tests;
      const said = (more) => `{__name__=~"signaling:.+|ALERTS",alertname!="SignalingWatchdog",${more}}`;
      test(signed, {
        name: 'everything is broken in one',
        input_series: [...broken.map(({ series: text, values }) => ({ series: text.replace('job="signaling"', `$&,${labels(ill)}`), values })), ...three(well)],
        promql_expr_test: [ill, well].map((release, index) => ({ expr: `${said(`by="${index}"`)} unless ${said(labels(release))}`, eval_time: '20m', exp_samples: [] })),
      });
    });
  }
} else skip('rendered rules', 'promtool is not there');

const REFUSED = {
  'a misspelt value': 'replica=3',
  'no node': 'replicas=0',
  'a misspelt option': 'config.RING_TIMOUT_SECS=30',
  'an option that is no number': 'config.RING_TIMEOUT_SECS=half a minute',
  'an unknown choice': 'config.INITIATE_CHECK=maybe',
  'a secret among the options': 'config.LARAVEL_API_SECRET=x',
  'no Redis address': 'secrets.REDIS_URL=http://redis',
  'an option that the chart owns': 'config.PORT=4000',
  'a drain without margin': 'drain.marginSeconds=0',
  'a port that is none': 'networkPolicy.redis.ports={70000}',
  'a network that is none': 'service.loadBalancerSourceRanges={anywhere}',
  'a policy that is none': 'service.externalTrafficPolicy=local',
  'a family that is none': 'service.ipFamilies={IPv5}',
  'a misspelt demo': 'redis.enabled=true',
  'a hook that is none': 'lifecycle.preStart.exec=x',
  'a timeout without unit': 'httpRoute.timeouts.request=30',
  'a budget that lets no machine be emptied': 'podDisruptionBudget.maxUnavailable=0%',
  'an interval that leaves the rules without rates': 'serviceMonitor.interval=1m',
};
for (const [what, set] of Object.entries(REFUSED)) {
  await check(`refused: ${what}`, () => {
    const { ok, text } = run(helm, ['template', 'r', chart, '-f', join(chart, 'ci/default-values.yaml'), '--set', set]);
    assert(!ok && /schema/.test(text), `accepted: ${set}\n${text.slice(0, 500)}`);
  });
}
for (const what of ['config.LARAVEL_API_URL', 'existingSecret']) {
  await check(`asked for: ${what}`, () => {
    const { ok, text } = run(helm, ['template', 'r', chart, '-f', join(chart, 'ci/existing-secret-values.yaml'), '--set', `${what}=`]);
    assert(!ok && text.includes(`set ${what}`), text);
  });
}

const CONTRADICTIONS = {
  'two Redises': ['default', 'redis.demo.enabled=true', 'one Redis'],
  'the demo beside a Secret': ['existing-secret', 'redis.demo.enabled=true', 'put REDIS_URL into the Secret'],
  'an open demo that is published': ['demo', 'service.type=LoadBalancer', 'accepts any token'],
  'two autoscalers': ['autoscaling', 'keda.enabled=true', 'KEDA makes an autoscaler'],
  'KEDA without Prometheus': ['default', 'keda.enabled=true', 'keda.serverAddress'],
  'fewer at most than at least': ['autoscaling', 'autoscaling.maxReplicas=2', 'autoscaling.minReplicas'],
  'an autoscaler that never adds a node': ['autoscaling', 'config.MAX_SESSIONS=1200000', 'not below config.MAX_SESSIONS (1200000)'],
  'the same with KEDA and the preset': ['default', 'keda.enabled=true,keda.serverAddress=http://prometheus,autoscaling.sessionsPerNode=50000', 'not below config.MAX_SESSIONS (50000)'],
  'a drain that outlasts its grace': ['placement', 'extraEnv[1].name=DRAIN_SECS,extraEnv[1].value=120', 'extraEnv sets DRAIN_SECS'],
  'a port that probes do not know': ['default', 'extraEnv[0].name=ADMIN_PORT', 'extraEnv sets ADMIN_PORT'],
  'a secret twice': ['existing-secret', 'extraEnv[0].name=REDIS_URL', 'extraEnv sets REDIS_URL'],
  'two private CAs': ['default', 'privateCA.configMap=a,privateCA.secret=b', 'take one'],
  'a port of the machines without one': ['default', 'service.nodePort=30080', 'service.nodePort needs service.type'],
  'a load balancer\'s option without one': ['default', 'service.loadBalancerClass=x', 'LoadBalancer'],
};
for (const [what, [name, set, wanted]] of Object.entries(CONTRADICTIONS)) {
  await check(`refused: ${what}`, () => {
    const { ok, text } = run(helm, ['template', 'r', chart, '-f', join(chart, `ci/${name}-values.yaml`), '--set', set]);
    assert(!ok && text.includes(wanted), `accepted: ${set}\n${text.slice(0, 500)}`);
  });
}

finish('chart');
