// What Prometheus sees of twelve nodes that are upgraded, for promtool.

/** Twelve nodes go one after the other: on hosts each is away for a moment, on Kubernetes its successor is there first. */
export function upgrades() {
  const STEPS = 120;
  const line = (metric, labels, at) => {
    const values = Array.from({ length: STEPS }, (_, step) => at(step) ?? '_');
    // A target that is gone leaves a mark.
    values.forEach((value, step) => { if (value === '_' && step && !['_', 'stale'].includes(values[step - 1])) values[step] = 'stale'; });
    const text = Object.entries({ job: 'signaling', ...labels }).map(([key, value]) => `${key}="${value}"`).join();
    return { series: `${metric}{${text}}`, values: values.join(' ') };
  };
  const hosts = [];
  const pods = [];
  for (let node = 0; node < 12; node += 1) {
    // Two scrapes of its drain, one of nothing, then the next node; seen from the others one scrape later.
    const start = 20 + node * 3;
    const away = (step) => step === start + 2;
    const host = { release: 'hosts', instance: `n${node}` };
    const seen = (step) => 12 - Number(step > 22 && step < 20 + 12 * 3 + 1 && step % 3 === (node % 2 ? 0 : 1));
    hosts.push(
      line('up', host, (step) => (away(step) ? 0 : 1)),
      line('signaling_build_info', { ...host, version: '1' }, (step) => (step < start + 2 ? 1 : '_')),
      line('signaling_build_info', { ...host, version: '2' }, (step) => (step > start + 2 ? 1 : '_')),
      line('signaling_draining', host, (step) => (away(step) ? '_' : Number(step === start || step === start + 1))),
      line('signaling_cluster_nodes', host, (step) => (away(step) ? '_' : seen(step))),
      line('signaling_sessions', host, (step) => (away(step) ? '_' : step === start + 1 ? 100 : 1000)),
      line('signaling_bus_healthy', host, (step) => (away(step) ? '_' : Number(step !== start + 1))),
      line('process_start_time_seconds', host, (step) => (away(step) ? '_' : step < start ? 1 : 2)),
    );
    // The successor comes, proves itself for 30 s, then the old one drains for two scrapes and is gone.
    const came = 20 + node * 5;
    for (const [pod, alive, drains] of [[`old${node}`, (step) => step < came + 5, (step) => step >= came + 3], [`new${node}`, (step) => step >= came, () => false]]) {
      const labels = { namespace: 'calls', release: 'pods', instance: pod };
      const at = (value) => (step) => (alive(step) ? value(step) : '_');
      pods.push(
        line('up', labels, at(() => 1)),
        line('signaling_build_info', { ...labels, version: pod.slice(0, 3) }, at(() => 1)),
        line('signaling_draining', labels, at((step) => Number(drains(step)))),
        line('signaling_cluster_nodes', labels, at((step) => 12 + Number(step >= 20 && step < 80 && step % 5 > (node % 2)))),
        line('signaling_sessions', labels, at((step) => (drains(step) ? 300 : 1000))),
      );
    }
  }
  return { hosts, pods };
}
