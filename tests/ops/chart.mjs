// The chart: lint, every file of helm/ci rendered and held against the Kubernetes schemas, what must be in the output,
// what the schema must refuse.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { assert, check, finish, root, run, skip, tool, yaml } from './tools.mjs';

const VERSIONS = ['1.30', '1.33', '1.35'];
// The API server knows their kinds only from their operators.
const CUSTOM = ['ServiceMonitor', 'PrometheusRule', 'HTTPRoute'];
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
const pod = (name) => of(name, 'Deployment')[0].spec.template;

for (const name of Object.keys(rendered)) {
  await check(`${name}: hardened`, () => {
    const pods = [pod(name).spec, ...of(name, 'Pod').map(({ spec }) => spec)];
    for (const { automountServiceAccountToken, securityContext, containers } of pods) {
      assert(automountServiceAccountToken === false, 'a token is mounted');
      assert(securityContext.runAsNonRoot && securityContext.seccompProfile.type === 'RuntimeDefault', 'pod');
      for (const { securityContext: inner } of containers) {
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
    const { rollingUpdate } = of(name, 'Deployment')[0].spec.strategy;
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
    assert(service.spec.ports.every(({ targetPort }) => targetPort === 'http'), JSON.stringify(service.spec));
  }
});

await check('network policy', () => {
  const { ingress, egress, policyTypes } = of('network-policy', 'NetworkPolicy')[0].spec;
  assert(`${policyTypes}` === 'Ingress,Egress' && ingress.length === 3 && egress.length === 5, 'rules');
  assert(ingress.every(({ from }) => from.length), 'somebody may come in who was not named');
  assert(egress.every(({ to }) => to.length), 'somewhere may be gone that was not named');
});

await check('scaling', () => {
  const { metrics, behavior } = of('autoscaling', 'HorizontalPodAutoscaler')[0].spec;
  assert(metrics.length === 1 && metrics[0].pods.metric.name === 'signaling_sessions', 'metric');
  assert(metrics[0].pods.target.averageValue === '1200000', metrics[0].pods.target.averageValue);
  assert(behavior.scaleDown.stabilizationWindowSeconds === 1800 && behavior.scaleUp.stabilizationWindowSeconds === 0, 'pace');
  assert(!('replicas' in of('autoscaling', 'Deployment')[0].spec), 'replicas fight with the autoscaler');
});

await check('numbers stay numbers', () => {
  assert(of('existing-secret', 'ConfigMap')[0].data.CALL_MAX_SECS === '1000000', 'CALL_MAX_SECS');
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
  const { spec } = of('monitoring', 'PrometheusRule')[0];
  const text = JSON.stringify(spec.groups);
  assert(text.includes('https://git.test/signaling/blob/main/docs/operations.md#'), 'runbook links');
  assert(text.replaceAll('https://git.test/signaling/blob/main/', '') === JSON.stringify(groups), 'rules differ');
  const shipped = readdirSync(join(root, 'deploy/grafana/dashboards'));
  const maps = of('monitoring', 'ConfigMap').filter(({ metadata }) => metadata.labels.grafana_dashboard);
  assert(maps.length === shipped.length && shipped.length >= 3, `${maps.length} dashboards`);
  for (const { data } of maps) {
    const [[file, content]] = Object.entries(data);
    const original = readFileSync(join(root, 'deploy/grafana/dashboards', file), 'utf8');
    assert(JSON.stringify(JSON.parse(content)) === JSON.stringify(JSON.parse(original)), file);
  }
});

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

finish('chart');
