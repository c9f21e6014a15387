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
{{- keys .Values.secrets | sortAlpha | join " " -}}
{{- end -}}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "signaling.check" -}}
{{- $insecure := eq (toString .Values.config.AUTH) "insecure" -}}
{{- if not (or $insecure .Values.config.LARAVEL_API_URL) -}}
{{- fail "set config.LARAVEL_API_URL, the address of Laravel (or config.AUTH=insecure, for trying out only)" -}}
{{- end -}}
{{- if not (has "REDIS_URL" (splitList " " (include "signaling.secretKeys" .))) -}}
{{- fail "set existingSecret to a Secret with REDIS_URL and LARAVEL_API_SECRET (or secrets.REDIS_URL, for trying out): nodes without a common Redis do not know each other" -}}
{{- end -}}
{{- if and .Values.existingSecret .Values.secrets -}}
{{- fail "existingSecret and secrets are both set: put everything into the Secret" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled needs ingress.hosts" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs" -}}
{{- end -}}
{{- end -}}
