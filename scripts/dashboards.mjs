// Writes deploy/grafana/dashboards/*.json from what is said here. With --check it only compares. Every selector is narrowed
// to the namespace, release and nodes that are chosen above the panels.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const folder = new URL('../deploy/grafana/dashboards/', import.meta.url);
const WIDTH = 24;
const GUIDE = 'https://github.com/onlycare/onlycare-signaling/blob/main/docs/operations.md';
// Where Loki keeps what the nodes print.
const LOGS = encodeURIComponent(JSON.stringify({
  logs: {
    datasource: 'LOGS', range: { from: 'now-1h', to: 'now' },
    queries: [{ refId: 'A', datasource: { type: 'loki', uid: 'LOGS' }, expr: '{namespace=~"NAMESPACE",pod=~"INSTANCE"} | json | level=~"WARN|ERROR"' }],
  },
})).replaceAll('LOGS', '${logs}').replaceAll('NAMESPACE', '${namespace:regex}').replaceAll('INSTANCE', '${instance:regex}');

const rate = (metric, by) => `sum${by ? ` by (${by})` : ''} (rate(${metric}[$__rate_interval]))`;
const node = (metric, labels = '') => `${metric}${labels && `{${labels}}`}`;
const quantile = (q, metric, { by = '', labels = '' } = {}) =>
  `histogram_quantile(${q}, sum by (${['le', by].filter(Boolean).join(', ')}) (rate(${metric}_bucket${labels && `{${labels}}`}[$__rate_interval])))`;
const quantiles = (metric, labels) => [0.5, 0.95, 0.99].map((q) => [quantile(q, metric, { labels }), `p${q * 100}`]);
const share = (part, whole) => `${rate(part)} / ${rate(whole)}`;
const hour = (metric) => `sum(increase(${metric}[1h]))`;

const graph = (title, unit, queries, description, more = {}) => ({ type: 'timeseries', title, unit, queries, description, w: 8, h: 8, ...more });
const stat = (title, unit, query, description, more = {}) => ({ type: 'stat', title, unit, queries: [[query, title]], description, w: 4, h: 4, ...more });
const row = (title) => ({ type: 'row', title, w: WIDTH, h: 1 });

const RING = 'signaling_ring_delivery_seconds';
const VERDICT = 'signaling_outcome_delivery_seconds';
const ENDED = 'signaling_calls_ended_total';

write('service', 'Signaling: service level', 'What phones feel, over all nodes', [
  stat('Calls a second', 'cps', rate('signaling_calls_initiated_total'), 'Calls that were created.'),
  stat('Ring p95', 's', quantile(0.95, RING), 'From the initiate to call:incoming at the phone\'s node.', { red: 0.5 }),
  stat('Accept p95', 's', quantile(0.95, VERDICT, { labels: 'event="accepted"' }), 'From the accept to call:accepted at the other node.', { red: 0.5 }),
  stat('Answered', 'percentunit', share('signaling_calls_accepted_total', 'signaling_calls_initiated_total'), 'Share of calls that were accepted.'),
  stat('Allowance', 'none', 'max(signaling:budget_burn:1h)', 'How many times faster than allowed errors are made, over an hour: 1 uses the month\'s allowance up in a month.', { orange: 6, red: 14.4 }),
  stat('Alerts', 'none', 'count(ALERTS{alertstate="firing",alertname=~"Signaling.*",severity=~"critical|warning"}) or vector(0)', 'That fire.', { orange: 1, red: 3 }),
  { type: 'alertlist', title: 'What is wrong', description: 'Alerts that fire or are about to; each links to its runbook.', w: 8, h: 4 },
  stat('Missed', 'percentunit', share(`${ENDED}{reason="no_answer"}`, ENDED), 'Share of calls that nobody answered.'),
  stat('By push', 'percentunit', share('signaling_pushes_required_total', 'signaling_calls_initiated_total'), 'Share of calls whose callee had no phone that confirmed.', { orange: 0.7, red: 0.9 }),
  row('Delivery'),
  graph('Ring delivery', 's', quantiles(RING), 'From the initiate to call:incoming, first telling only.'),
  graph('Ring delivery p95 by path', 's', [[quantile(0.95, RING, { by: 'path' }), '{{path}}']], 'local: caller and callee on one node.'),
  graph('Work per event p95', 's', [[quantile(0.95, 'signaling_event_seconds', { by: 'event' }), '{{event}}']], 'From an event\'s arrival until all it caused was sent on.'),
  graph('Accept propagation', 's', quantiles(VERDICT, 'event="accepted"'), 'From the accept to call:accepted.'),
  graph('Reject propagation', 's', quantiles(VERDICT, 'event="rejected"'), 'From the reject to call:rejected.'),
  graph('Cancel and end propagation p95', 's', [[quantile(0.95, VERDICT, { by: 'event', labels: 'event=~"cancelled|ended"' }), '{{event}}']], 'From the verdict to its event at the other phone.'),
  row('Outcomes'),
  graph('Calls', 'cps', [[rate('signaling_calls_initiated_total'), 'initiated'], [rate('signaling_calls_accepted_total'), 'accepted'], [rate(ENDED), 'ended']], 'A second.'),
  graph('Ends by reason', 'cps', [[rate(ENDED, 'reason'), '{{reason}}']], 'A second.', { stack: true }),
  graph('Live calls', 'none', [['sum by (state) (signaling_calls)', '{{state}}']], 'Each node counts those it has to do with: a call across two nodes counts twice.'),
  graph('Ratios', 'percentunit', [
    [share('signaling_calls_accepted_total', 'signaling_calls_initiated_total'), 'answered'],
    [share(`${ENDED}{reason="no_answer"}`, ENDED), 'missed'],
    [share(`${ENDED}{reason="rejected"}`, ENDED), 'rejected'],
    [share(`${ENDED}{reason="busy"}`, ENDED), 'busy'],
  ], 'Share of all calls.'),
  graph('Rung by push', 'percentunit', [[share('signaling_pushes_required_total', 'signaling_calls_initiated_total'), 'push']], 'No phone of the callee confirmed: none was connected, or none of those that promised did so within 2 s.'),
  graph('Unconfirmed rings', 'percentunit', [[share('signaling_incoming_unconfirmed_total', 'signaling_incoming_total{acks="promised"}'), 'unconfirmed']], 'Of the phones that promised to confirm.'),
  row('What calls were like'),
  graph('Ring time', 's', [0.5, 0.95].map((q) => [quantile(q, 'signaling_call_ring_seconds', { by: 'type' }), `p${q * 100} {{type}}`]), 'From the first word of a call to its answer, or to its end without one. The same for any time of the last month: GET /api/stats.'),
  graph('Talk time', 's', [0.5, 0.95].map((q) => [quantile(q, 'signaling_call_talk_seconds', { by: 'type' }), `p${q * 100} {{type}}`]), 'By what was sent; a call that changed its type counts in both.'),
  graph('Switches to video', 'cps', [[rate('signaling_video_switches_total', 'outcome'), '{{outcome}}']], 'Requests a second by what came of them; downgraded: back to audio.', { stack: true }),
  row('What should not be'),
  graph('Timer lateness', 's', quantiles('signaling_timer_lateness_seconds'), 'How long after its deadline a call was judged.', { red: 2 }),
  graph('Speed at which the allowance is used', 'none', [['signaling:budget_burn:5m', '{{slo}} 5 min'], ['signaling:budget_burn:1h', '{{slo}} 1 h'], ['signaling:budget_burn:6h', '{{slo}} 6 h']], '1: used up within a month. 14.4 wakes somebody, 6 waits for the morning.', { orange: 6, red: 14.4 }),
  graph('Errors by code', 'cps', [[rate('signaling_event_errors_total', 'code'), '{{code}}']], 'Events that were refused, a second. unavailable is ours.'),
  graph('In the last hour', 'none', [
    [hour('signaling_ghost_rings_total'), 'ghost rings'],
    [hour('signaling_lines_freed_total{cause="gone"}'), 'stuck lines'],
    [hour('signaling_late_decisions_total'), 'late decisions'],
    [hour('signaling_verdicts_dropped_total'), 'verdicts dropped'],
    [hour('signaling_accepts_missed_total'), 'accepts missed'],
    [hour('signaling_storms_total'), 'storms'],
    [hour('signaling_older_calls_dropped_total'), 'news of older calls'],
    [hour('signaling_calls_doubted_total'), 'calls in doubt'],
    [hour('signaling_calls_restored_total'), 'calls put back'],
    [hour('signaling_milestones_dropped_total'), 'milestones dropped'],
  ], 'All zero on a good day.', { red: 1 }),
]);

write('nodes', 'Signaling: nodes', 'Each node by itself, the bus between them, and Redis', [
  stat('Sessions', 'none', `sum(${node('signaling_sessions')} and on (namespace, release, instance) up == 1)`, 'Of the nodes chosen above. The phones of a node that was killed are on others already.'),
  stat('Users', 'none', `sum(${node('signaling_users')})`, 'A user on two nodes counts twice.'),
  stat('Nodes', 'none', `count(${node('signaling_build_info')})`, 'That are measured.'),
  stat('Fullest node', 'percentunit', `max((${node('signaling_transports')} + 2 * ${node('signaling_relays')}) / (${node('signaling_sessions_limit')} > 0))`, 'Transports, and twice the websockets passed on, by MAX_SESSIONS.', { orange: 0.7, red: 0.8 }),
  stat('Draining', 'none', `sum(${node('signaling_draining')})`, 'Nodes that let their phones go.', { orange: 1 }),
  stat('Memory per session', 'bytes', `sum(${node('process_resident_memory_bytes')}) / sum(${node('signaling_sessions')})`, 'What a node holds without sessions included.'),
  row('Load'),
  graph('Sessions', 'none', [[node('signaling_sessions'), '{{instance}}']], 'By node.'),
  graph('Handshakes', 'cps', [[rate(node('signaling_handshakes_total'), 'outcome'), '{{outcome}}']], 'Phones that want in, a second. limited: by a limit; unavailable: Laravel did not say whose the token is.', { stack: true }),
  graph('Handshakes that wait', 'none', [[rate('signaling_handshake_wait_seconds_count'), 'had to, a second'], [`sum(${node('signaling_handshakes_waiting')})`, 'wait now'], [`sum(${node('signaling_transports_unused')})`, 'transports that are no sessions']], 'More come than the node takes without being late; after 10 s they are refused.'),
  graph('Disconnects by cause', 'cps', [[rate(node('signaling_disconnects_total'), 'cause'), '{{cause}}']], 'A second. left and closed: by the phone. lost: the connection broke. silent: no answer to a ping.', { stack: true }),
  graph('Memory', 'bytes', [[node('process_resident_memory_bytes'), '{{instance}}']], 'Resident.'),
  graph('CPU', 'percentunit', [[`rate(${node('process_cpu_seconds_total')}[5m])`, '{{instance}}']], '1 is one core. Over five minutes: the counter has whole seconds.', { orange: 0.7, red: 0.9 }),
  graph('Open files', 'percentunit', [[`${node('process_open_fds')} / ${node('process_max_fds')}`, '{{instance}}']], 'Share of the limit.', { orange: 0.6, red: 0.8 }),
  graph('Upgrades and unnamed clients', 'cps', [[rate(node('signaling_upgrades_total'), 'outcome'), 'upgrade {{outcome}}'], [rate(node('signaling_clients_unnamed_total')), 'unnamed'], [rate(node('signaling_forwarders_unlisted_total')), 'unlisted']], 'A second. unnamed: whose address is not known, as docs/metrics.md says; unlisted: forwarded by who is none of TRUSTED_PROXIES.'),
  graph('Connections', 'percentunit', [[`${node('signaling_connections')} / (${node('signaling_connections_limit')} > 0)`, '{{instance}}']], 'To the public port, share of MAX_CONNECTIONS or of what descriptors allow.', { orange: 0.7, red: 0.9 }),
  graph('Transports', 'none', [[node('signaling_transports'), '{{instance}}']], 'Sessions, and what is not one yet: what MAX_SESSIONS counts.'),
  graph('Connections cut', 'cps', [[rate(node('signaling_connections_cut_total'), 'cause'), '{{cause}}'], [rate(node('signaling_accepts_failed_total')), 'not accepted']], 'By this side, a second. not accepted: descriptors or memory ran out.', { stack: true }),
  graph('Refused by limits', 'cps', [[rate(node('signaling_limited_total'), 'limit'), '{{limit}}']], 'docs/configuration.md says what each limit is.', { stack: true }),
  graph('Ended by this side', 'cps', [
    [rate(node('signaling_sessions_evicted_total')), 'evicted'],
    [rate(node('signaling_sessions_revoked_total')), 'revoked'],
    [rate(node('signaling_sessions_deaf_total')), 'deaf'],
    [rate(node('signaling_sessions_swept_total')), 'swept'],
    [rate(node('signaling_sessions_sent_away_total')), 'sent away'],
    [rate(node('signaling_news_dropped_total')), 'news dropped'],
  ], 'Sessions a second. deaf: the phone no longer reads. swept: of dead nodes.'),
  graph('Drains', 'none', [
    [`sum by (instance) (${node('signaling_draining')})`, '{{instance}} drains'],
    [rate(node('signaling_sessions_drained_total')), 'closed a second'],
  ], 'Transports are closed evenly over DRAIN_SECS.'),
  row('Between nodes'),
  graph('Bus lag', 's', quantiles('signaling_bus_lag_seconds'), 'From publishing on one node to opening on another.'),
  graph('Bus troubles', 'cps', [
    [rate(node('signaling_bus_failures_total')), 'failed'],
    [rate(node('signaling_bus_gaps_total')), 'gaps'],
    [rate(node('signaling_bus_undelivered_total')), 'undelivered'],
    [rate(node('signaling_bus_expired_total')), 'expired'],
    [rate(node('signaling_bus_unreadable_total')), 'unreadable'],
    [rate(node('signaling_healed_total')), 'healed'],
  ], 'A second. healed: told by comparison with Redis.'),
  graph('Forwarded requests', 'reqps', [[rate(node('signaling_relayed_total'), 'outcome'), '{{outcome}}']], 'For sessions of other nodes.', { stack: true }),
  graph('Forwarded websockets', 'none', [[node('signaling_relays'), '{{instance}}']], 'Each costs its node two connections; routes by session id at the load balancer save them.'),
  graph('Nodes that each node sees', 'none', [[node('signaling_cluster_nodes'), '{{instance}}']], 'All should see the same.'),
  graph('Bus healthy', 'none', [[node('signaling_bus_healthy'), '{{instance}}']], '1 or 0.', { low: true }),
  row('Redis'),
  graph('Command duration p95', 's', [[quantile(0.95, 'signaling_store_seconds', { by: 'command' }), '{{command}}']], 'As the node sees it.'),
  graph('Failures', 'cps', [[rate(node('signaling_store_failures_total'), 'instance'), '{{instance}}']], 'Commands a second that failed or timed out.'),
  graph('Process', 'none', [
    [node('process_threads'), '{{instance}} threads'],
    [`time() - ${node('process_start_time_seconds')}`, '{{instance}} seconds up'],
  ], 'Of each node.'),
  graph('Address space', 'bytes', [[node('process_virtual_memory_bytes'), '{{instance}}'], [`${node('process_virtual_memory_max_bytes')} > 0`, '{{instance}} limit']], 'Reserved, not used; no limit, no line.'),
  graph('Reconnects and losses', 'none', [
    [`sum(increase(${node('signaling_redis_reconnects_total')}[10m]))`, 'reconnects in 10 minutes'],
    [`max(increase(${node('signaling_store_losses_total')}[10m]))`, 'losses of the store'],
    [`sum(${node('signaling_verdicts_waiting')})`, 'verdicts that wait'],
    [`sum(increase(${node('signaling_clock_steps_total')}[10m]))`, 'steps of its clock'],
  ], 'verdicts that wait: hang-ups kept until Redis is back.'),
  graph('Unreadable', 'cps', [[rate(node('signaling_unreadable_total'), 'what'), '{{what}}']], 'Stored items of another version, or damaged: some during an upgrade.'),
  graph('Redis healthy', 'none', [[node('signaling_store_healthy'), '{{instance}}']], '1 or 0.', { low: true }),
  graph('Presence watched', 'none', [[node('signaling_presence_watched_users'), '{{instance}}']], 'Users whose presence somebody subscribed to.'),
  graph('Versions', 'none', [[`count by (version) (${node('signaling_build_info')})`, '{{version}}']], 'Two during an upgrade.'),
]);

write('laravel', 'Signaling: Laravel', 'What is asked of Laravel, what it is told, and what waits', [
  stat('Token checks', 'reqps', rate('signaling_token_checks_total'), 'A second, those from the cache included.'),
  stat('Unanswered', 'percentunit', share('signaling_token_checks_total{outcome=~"unavailable|refused_by_breaker"}', 'signaling_token_checks_total'), 'Share of token checks that Laravel did not answer.', { red: 0.1 }),
  stat('Check p95', 's', quantile(0.95, 'signaling_token_check_seconds'), 'Laravel\'s own time.', { red: 2 }),
  stat('Breakers open', 'none', 'sum(signaling_laravel_breaker_open)', 'Nodes that ask Laravel nothing for a while.', { red: 1 }),
  stat('Outbox', 'none', 'max(signaling_outbox_records)', 'Records that wait for Laravel.'),
  stat('Oldest', 's', 'max(signaling_outbox_oldest_seconds)', 'Of those that are due.', { red: 300 }),
  row('Who is this'),
  graph('Token checks by outcome', 'reqps', [[rate('signaling_token_checks_total', 'outcome'), '{{outcome}}']], 'invalid sends a phone away for good.', { stack: true }),
  graph('Duration', 's', quantiles('signaling_token_check_seconds'), 'Of users/me.'),
  graph('Waiting and held', 'none', [
    ['sum(signaling_token_checks_waiting)', 'checks in the background'],
    ['sum(signaling_laravel_breaker_open)', 'breakers open'],
    ['sum(signaling_new_tokens_slowed)', 'nodes that slow new tokens'],
    ['min(signaling_laravel_route_found)', 'route found'],
  ], 'route found: 0 while a node knows no address of users/me.'),
  row('What Laravel is told'),
  graph('Callbacks', 'reqps', [[rate('signaling_callbacks_total', 'request, outcome'), '{{request}} {{outcome}}']], 'Requests with the acting user\'s token.'),
  graph('Questions about calls', 'reqps', [[rate('signaling_inquiries_total', 'outcome'), '{{outcome}}']], 'To Laravel\'s table, before a ring is given up or somebody is told busy.', { stack: true }),
  graph('Callback duration p95', 's', [[quantile(0.95, 'signaling_callback_seconds', { by: 'request' }), '{{request}}']], 'By request.'),
  graph('Webhook attempts', 'reqps', [[rate('signaling_webhooks_total', 'type, outcome'), '{{type}} {{outcome}}']], 'By type and outcome.'),
  graph('Webhook duration', 's', quantiles('signaling_webhook_seconds'), 'One attempt.'),
  graph('Outbox', 'none', [['max(signaling_outbox_records)', 'records'], ['max(signaling_outbox_dead)', 'given up'], [hour('signaling_outbox_dropped_total'), 'dropped in the last hour'], ['max(signaling_webhooks_off)', 'webhooks off']], 'Of the cluster.'),
  graph('Size of the outbox', 'bytes', [['max(signaling_outbox_bytes)', 'bytes']], 'In Redis.'),
  graph('Webhook failures by cause', 'reqps', [[rate('signaling_webhook_failures_total', 'cause'), '{{cause}}']], 'Attempts a second.', { stack: true }),
  graph('Oldest record', 's', [['max(signaling_outbox_oldest_seconds)', 'age']], 'Of those that are due.', { red: 300 }),
  row('What Laravel asks'),
  graph('Requests', 'reqps', [[rate('signaling_http_requests_total', 'route, status'), '{{route}} {{status}}']], 'To /api/ and /health. gone: who asked did not wait for the answer.'),
  graph('Request duration p95', 's', [[quantile(0.95, 'signaling_http_request_seconds', { by: 'route' }), '{{route}}']], 'Laravel waits 2 s at most.'),
  graph('Trust', 'none', [
    [hour('signaling_secrets_refused_total'), 'wrong secrets'],
    [hour('signaling_initiate_checks_total{outcome="contradicted"}'), 'initiates that Laravel contradicts'],
    [hour('signaling_sessions_revoked_total'), 'sessions revoked'],
    [hour('signaling_open_rows_total'), 'rows left open'],
    [hour('signaling_tokens_dropped_total'), 'tokens refused on a callback'],
  ], 'In the last hour.'),
]);

function write(uid, title, description, list) {
  let [x, y, height] = [0, 0, 0];
  const panels = list.map((panel, index) => {
    if (x + panel.w > WIDTH) [x, y, height] = [0, y + height, 0];
    const gridPos = { x, y, w: panel.w, h: panel.h };
    x += panel.w;
    height = Math.max(height, panel.h);
    return layOut(panel, index + 1, gridPos);
  });
  const dashboard = {
    uid: `signaling-${uid}`, title, description, tags: ['signaling'], schemaVersion: 39, version: 1, editable: true, graphTooltip: 1,
    time: { from: 'now-3h', to: 'now' }, refresh: '30s', timezone: 'browser',
    links: [
      { type: 'dashboards', title: 'Signaling', tags: ['signaling'], asDropdown: false, includeVars: true, keepTime: true },
      { type: 'link', title: 'Runbooks', icon: 'doc', targetBlank: true, url: `${GUIDE}#runbooks` },
      { type: 'link', title: 'Logs', icon: 'external link', targetBlank: true, keepTime: true, url: `/explore?schemaVersion=1&orgId=1&panes=${LOGS}` },
    ],
    templating: {
      list: [
        { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus', current: {}, hide: 0 },
        variable('namespace', 'Namespace', 'label_values(signaling_build_info, namespace)'),
        variable('release', 'Release', 'label_values(signaling_build_info{namespace=~"$namespace"}, release)'),
        variable('instance', 'Node', 'label_values(signaling_build_info{namespace=~"$namespace",release=~"$release"}, instance)'),
        { name: 'logs', label: 'Logs', type: 'datasource', query: 'loki', current: {}, hide: 0 },
      ],
    },
    annotations: {
      list: [{ name: 'Drains', datasource: source(), enable: true, iconColor: 'orange', expr: narrowed('signaling_draining == 1'), titleFormat: '{{instance}} drains', step: '15s' }],
    },
    panels,
  };
  const file = new URL(`${uid}.json`, folder);
  const text = `${JSON.stringify(dashboard, null, 1)}\n`;
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  if (process.argv.includes('--check')) {
    console.log(`deploy/grafana/dashboards/${uid}.json is old: run node scripts/dashboards.mjs`);
    process.exitCode = 1;
  } else writeFileSync(file, text);
}

function variable(name, label, query) {
  return {
    name, label, type: 'query', datasource: source(), query: { query, refId: name }, refresh: 2, includeAll: true, multi: true,
    // Also what has no such label.
    allValue: '.*', current: { text: ['All'], value: ['$__all'] }, sort: 1,
  };
}

/** Each metric of the expression, of the chosen nodes only. What rules recorded has no node, what fires need not have one. */
function narrowed(expr) {
  return expr.replace(/(?<![\w:"])(signaling:[\w:]+|(?:signaling_|process_)\w+|up|ALERTS)\b(\{[^}]*\})?/g, (_, metric, labels = '{}') => {
    const cluster = 'namespace=~"$namespace",release=~"$release"';
    const chosen = metric.includes(':') || metric === 'ALERTS' ? cluster : `job="signaling",${cluster},instance=~"$instance"`;
    return `${metric}{${[chosen, labels.slice(1, -1)].filter(Boolean).join(',')}}`;
  });
}

function layOut({ type, title, unit, queries, description, orange, red, low, stack }, id, gridPos) {
  if (type === 'row') return { id, type, title, gridPos, collapsed: false, panels: [] };
  if (type === 'alertlist') {
    const options = {
      viewMode: 'list', groupMode: 'default', maxItems: 20, sortOrder: 3, dashboardAlerts: false, alertName: 'Signaling', datasource: '${datasource}',
      alertInstanceLabelFilter: '{namespace=~"$namespace",release=~"$release"}', stateFilter: { firing: true, pending: true, noData: false, normal: false, error: true },
    };
    return { id, type, title, description, gridPos, options };
  }
  const steps = [{ color: low ? 'red' : 'green', value: null }];
  if (low) steps.push({ color: 'green', value: 1 });
  if (orange !== undefined) steps.push({ color: 'orange', value: orange });
  if (red !== undefined) steps.push({ color: 'red', value: red });
  const thresholdsStyle = { mode: steps.length > 1 ? 'dashed' : 'off' };
  const custom = { lineWidth: 1, fillOpacity: stack ? 20 : 5, showPoints: 'never', stacking: { mode: stack ? 'normal' : 'none' }, thresholdsStyle };
  const options = type === 'stat'
    ? { reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false }, colorMode: 'value', graphMode: 'area', textMode: 'auto' }
    : { legend: { displayMode: 'list', placement: 'bottom', showLegend: true }, tooltip: { mode: 'multi', sort: 'desc' } };
  return {
    id, type, title, description, gridPos, datasource: source(),
    fieldConfig: { defaults: { unit, min: 0, ...(type === 'stat' ? {} : { custom }), thresholds: { mode: 'absolute', steps } }, overrides: [] },
    options,
    targets: queries.map(([expr, legendFormat], at) => ({ refId: String.fromCharCode(65 + at), datasource: source(), expr: narrowed(expr), legendFormat, range: true })),
  };
}

function source() {
  return { type: 'prometheus', uid: '${datasource}' };
}
