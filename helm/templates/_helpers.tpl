{{- define "signaling.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "signaling.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "signaling.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "signaling.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "signaling.selector" -}}
app.kubernetes.io/name: {{ include "signaling.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end -}}

{{- define "signaling.demo" -}}
app.kubernetes.io/name: {{ include "signaling.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: demo-redis
{{- end -}}

{{- define "signaling.labels" -}}
{{ include "signaling.selector" . }}
{{ include "signaling.release" . }}
{{- end -}}

{{/* Of objects that no selector is to find. */}}
{{- define "signaling.release" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "signaling.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "signaling.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "signaling.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "signaling.secret" -}}
{{- default (include "signaling.fullname" .) .Values.existingSecret -}}
{{- end -}}

{{/* Names of the options that come from the Secret, separated by spaces. */}}
{{- define "signaling.secretKeys" -}}
{{- if .Values.existingSecret -}}
{{- join " " .Values.secretKeys -}}
{{- else -}}
{{- keys (include "signaling.secrets" . | fromJson) | sortAlpha | join " " -}}
{{- end -}}
{{- end -}}

{{/* The secrets of the chart's own Secret, as JSON. */}}
{{- define "signaling.secrets" -}}
{{- if .Values.redis.demo.enabled -}}
{{- merge (dict "REDIS_URL" (printf "redis://%s-demo-redis:6379" (include "signaling.fullname" .))) (.Values.secrets | default dict) | toJson -}}
{{- else -}}
{{- .Values.secrets | default dict | toJson -}}
{{- end -}}
{{- end -}}

{{/* laravel or insecure: whoever tries it out with the demo's Redis need not have a Laravel. */}}
{{- define "signaling.auth" -}}
{{- if .Values.config.AUTH -}}
{{- .Values.config.AUTH -}}
{{- else if and .Values.redis.demo.enabled (not .Values.config.LARAVEL_API_URL) -}}
insecure
{{- else -}}
laravel
{{- end -}}
{{- end -}}

{{/* What runs is kept where something else scales: a Deployment without the number is set to 1. */}}
{{- define "signaling.replicas" -}}
{{- if or .Values.autoscaling.enabled .Values.keda.enabled -}}
{{- $running := lookup "apps/v1" "Deployment" .Release.Namespace (include "signaling.fullname" .) -}}
{{- if $running -}}
{{- max 1 (int $running.spec.replicas) -}}
{{- else -}}
{{- .Values.autoscaling.minReplicas -}}
{{- end -}}
{{- else -}}
{{- .Values.replicas -}}
{{- end -}}
{{- end -}}

{{/* How a HorizontalPodAutoscaler is to pace. */}}
{{- define "signaling.behavior" -}}
{{- with .Values.autoscaling -}}
{{- if .behavior -}}
{{- toYaml .behavior -}}
{{- else -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - {type: Percent, value: 100, periodSeconds: 15}
    - {type: Pods, value: 2, periodSeconds: 15}
scaleDown:
  stabilizationWindowSeconds: {{ .scaleDownAfterSeconds }}
  policies:
    - {type: Pods, value: 1, periodSeconds: {{ .scaleDownPauseSeconds }}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The volume with certificates of one's own, or nothing. */}}
{{- define "signaling.privateCA" -}}
{{- with .Values.privateCA -}}
{{- if .configMap -}}
configMap:
  name: {{ .configMap }}
{{- else if .secret -}}
secret:
  secretName: {{ .secret }}
  defaultMode: 0440
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Ports of a URL, separated by spaces: all that it names, or the scheme's. */}}
{{- define "signaling.ports" -}}
{{- $scheme := regexFind "^[a-z0-9+-]+" . -}}
{{- $found := list -}}
{{- range prepend (regexFindAll "[?&]node=[^&#]*" . -1) (regexFind "^[a-z0-9+-]+://[^/?#]*" .) -}}
{{- with regexFind ":[0-9]+$" . -}}
{{- $found = append $found (trimPrefix ":" .) -}}
{{- end -}}
{{- end -}}
{{- if contains "sentinel" $scheme -}}
{{- /* Sentinel says where Redis is. */ -}}
{{- $found = append $found "6379" -}}
{{- end -}}
{{- if not (regexMatch "^[a-z0-9+-]+://[^/?#]*:[0-9]+([/?#]|$)" .) -}}
{{- $preset := dict "http" "80" "https" "443" "redis-sentinel" "26379" "rediss-sentinel" "26379" -}}
{{- $found = append $found (get $preset $scheme | default "6379") -}}
{{- end -}}
{{- $found | uniq | join " " -}}
{{- end -}}

{{- define "signaling.host" -}}
{{- regexReplaceAll "^[a-z0-9+-]+://([^/?#]*@)?([^/?#]*?)(:[0-9]+)?([/?#].*)?$" . "${2}" -}}
{{- end -}}

{{/* Whether a URL names a Service: NetworkPolicies are judged by the ports of the pods behind it. */}}
{{- define "signaling.inside" -}}
{{- $host := include "signaling.host" . -}}
{{- if and $host (not (hasPrefix "[" $host)) (or (not (contains "." $host)) (regexMatch "\\.svc(\\.|$)" $host)) -}}yes{{- end -}}
{{- end -}}

{{/* The Service that a URL may name as NAME.NAMESPACE: a domain of two labels looks the same, but hardly goes without TLS. */}}
{{- define "signaling.perhapsInside" -}}
{{- $host := include "signaling.host" . -}}
{{- if and (regexMatch "^(http|redis(-[a-z]+)?)://" .) (regexMatch "^[^.:]+\\.[^.:]+$" $host) -}}{{ $host }}{{- end -}}
{{- end -}}

{{/* Where nodes go, by what is configured: a list of {name, to, ports, guessed, perhaps} as JSON. */}}
{{- define "signaling.destinations" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $secrets := include "signaling.secrets" . | fromJson -}}
{{- $found := list -}}
{{- $wanted := list
  (list "redis" "REDIS_URL" (get $secrets "REDIS_URL"))
  (list "laravel" "LARAVEL_API_URL" (get .Values.config "LARAVEL_API_URL"))
  (list "webhook" "WEBHOOK_URL" (get .Values.config "WEBHOOK_URL"))
  (list "otlp" "OTEL_EXPORTER_OTLP_ENDPOINT" (get .Values.config "OTEL_EXPORTER_OTLP_ENDPOINT")) -}}
{{- range $wanted -}}
{{- $name := index . 0 -}}
{{- $option := index . 1 -}}
{{- $url := index . 2 -}}
{{- $given := index $policy $name -}}
{{- $ports := list -}}
{{- range $given.ports -}}
{{- $ports = append $ports (toString .) -}}
{{- end -}}
{{- if and (eq $name "webhook") $url (not $ports) (eq (include "signaling.host" $url) (include "signaling.host" (get $.Values.config "LARAVEL_API_URL" | default ""))) (include "signaling.inside" $url) -}}
{{- range $policy.laravel.ports -}}
{{- $ports = append $ports (toString .) -}}
{{- end -}}
{{- end -}}
{{- $guessed := false -}}
{{- $perhaps := "" -}}
{{- if $url -}}
{{- $needed := splitList " " (include "signaling.ports" $url) -}}
{{- $beside := $ports -}}
{{- range $policy.extraEgress -}}
{{- range .ports -}}
{{- $beside = append $beside (toString .port) -}}
{{- end -}}
{{- end -}}
{{- if include "signaling.inside" $url -}}
{{- $guessed = not (or $ports (and (eq $name "redis") $.Values.redis.demo.enabled)) -}}
{{- else -}}
{{- range $needed -}}
{{- if and $ports (not (has . $beside)) -}}
{{- fail (printf "%s uses port %s, which the NetworkPolicy would close: add it to networkPolicy.%s.ports, or leave that empty; if it names a Service whose pods have another port, write it as NAME.NAMESPACE.svc" $option . $name) -}}
{{- end -}}
{{- end -}}
{{- if not $ports -}}
{{- $perhaps = include "signaling.perhapsInside" $url -}}
{{- end -}}
{{- end -}}
{{- $ports = $ports | default $needed -}}
{{- else if eq $name "redis" -}}
{{- $ports = $ports | default (list "6379" "26379") -}}
{{- end -}}
{{- $to := $given.to -}}
{{- if and (eq $name "webhook") $url (not $to) -}}
{{- $laravel := $policy.laravel.to -}}
{{- if and $laravel (ne (include "signaling.host" $url) (include "signaling.host" (get $.Values.config "LARAVEL_API_URL" | default ""))) -}}
{{- fail "WEBHOOK_URL is at another host than LARAVEL_API_URL, and networkPolicy.laravel.to is narrow: set networkPolicy.webhook.to" -}}
{{- end -}}
{{- $to = $laravel -}}
{{- end -}}
{{- if and $ports (or $url (eq $name "redis") $given.ports) -}}
{{- $found = append $found (dict "name" $name "to" $to "ports" $ports "guessed" $guessed "perhaps" $perhaps) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "signaling.check" -}}
{{- $insecure := eq (include "signaling.auth" .) "insecure" -}}
{{- if not (or $insecure .Values.config.LARAVEL_API_URL) -}}
{{- fail "set config.LARAVEL_API_URL, the address of Laravel (or config.AUTH=insecure, for trying out only)" -}}
{{- end -}}
{{- if not (has "REDIS_URL" (splitList " " (include "signaling.secretKeys" .))) -}}
{{- fail "set existingSecret to a Secret with REDIS_URL and LARAVEL_API_SECRET (or secrets.REDIS_URL, for trying out): nodes without a common Redis do not know each other" -}}
{{- end -}}
{{- if and .Values.existingSecret .Values.secrets -}}
{{- fail "existingSecret and secrets are both set: put everything into the Secret" -}}
{{- end -}}
{{- if and .Values.existingSecret .Values.redis.demo.enabled -}}
{{- fail "existingSecret and redis.demo.enabled are both set: the demo's Redis is for trying out, put REDIS_URL into the Secret" -}}
{{- end -}}
{{- if and .Values.redis.demo.enabled .Values.secrets.REDIS_URL -}}
{{- fail "secrets.REDIS_URL and redis.demo.enabled are both set: take one Redis" -}}
{{- end -}}
{{- if and $insecure (not .Values.config.AUTH) (or .Values.ingress.enabled .Values.httpRoute.enabled (ne .Values.service.type "ClusterIP")) -}}
{{- fail "redis.demo.enabled without config.LARAVEL_API_URL accepts any token, and it would be published: set config.LARAVEL_API_URL, or config.AUTH=insecure if you mean it" -}}
{{- end -}}
{{- if and .Values.privateCA.configMap .Values.privateCA.secret -}}
{{- fail "privateCA.configMap and privateCA.secret are both set: take one" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled .Values.keda.enabled -}}
{{- fail "autoscaling.enabled and keda.enabled are both set: KEDA makes an autoscaler of its own" -}}
{{- end -}}
{{- if and .Values.keda.enabled (not .Values.keda.serverAddress) -}}
{{- fail "keda.enabled needs keda.serverAddress, the address of Prometheus" -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- $full := 50000 -}}
{{- if hasKey .Values.config "MAX_SESSIONS" -}}{{- $full = int64 .Values.config.MAX_SESSIONS -}}{{- end -}}
{{- $scaled := or .Values.keda.enabled (and .Values.autoscaling.enabled (not .Values.autoscaling.metrics)) -}}
{{- if and $scaled (gt $full 0) (ge (int64 .Values.autoscaling.sessionsPerNode) $full) -}}
{{- fail (printf "autoscaling.sessionsPerNode is not below config.MAX_SESSIONS (%v): nodes would be full and refuse phones before one is added" $full) -}}
{{- end -}}
{{- $owned := list "PORT" "API_PORT" "ADMIN_PORT" "HOST" "NODE_ENV" "NODE_ID" "NODE_ADDRESS" "POD_IP" "DRAIN_DELAY_SECS" "DRAIN_SECS" -}}
{{- range splitList " " (include "signaling.secretKeys" .) -}}
{{- $owned = concat $owned (list . (printf "%s_FILE" .)) -}}
{{- end -}}
{{- if include "signaling.privateCA" . -}}
{{- $owned = concat $owned (list "SSL_CERT_FILE" "SSL_CERT_DIR") -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if has .name $owned -}}
{{- fail (printf "extraEnv sets %s, which the chart sets itself: ports, probes, the grace of a drain and the mounted secrets go by it" .name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.service.nodePort (eq .Values.service.type "ClusterIP") -}}
{{- fail "service.nodePort needs service.type NodePort or LoadBalancer" -}}
{{- end -}}
{{- if and .Values.service.externalTrafficPolicy (eq .Values.service.type "ClusterIP") -}}
{{- fail "service.externalTrafficPolicy needs service.type NodePort or LoadBalancer" -}}
{{- end -}}
{{- if and (or .Values.service.loadBalancerClass .Values.service.loadBalancerSourceRanges) (ne .Values.service.type "LoadBalancer") -}}
{{- fail "service.loadBalancerClass and service.loadBalancerSourceRanges need service.type LoadBalancer" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled needs ingress.hosts" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs" -}}
{{- end -}}
{{- end -}}
