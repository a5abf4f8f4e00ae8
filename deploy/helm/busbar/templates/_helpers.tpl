{{- define "busbar.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "busbar.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "busbar.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "busbar.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "busbar.selector" -}}
app.kubernetes.io/name: {{ include "busbar.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "busbar.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "busbar.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "busbar.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "busbar.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "busbar.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* "true" where the database is: it has one owner, and so has the volume. */}}
{{- define "busbar.governed" -}}
{{- if (.Values.config.governance | default dict).enabled }}true{{ end -}}
{{- end -}}

{{/* config.yaml. The database is where the volume is, unless another place is named. */}}
{{- define "busbar.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if include "busbar.governed" . -}}
{{- $_ := set $config "governance" (mergeOverwrite (dict "db_path" "/var/lib/busbar/governance.db") $config.governance) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* How long a pod is let live on: until it gets no more requests, then the drain, then the actors and the database. */}}
{{- define "busbar.graceSecs" -}}
{{- $drain := dig "limits" "drain_timeout_secs" 30 .Values.config -}}
{{- add (ceil $drain | int) (int .Values.preStopSecs) 15 -}}
{{- end -}}

{{/* A probe of `path`; where callers must show a certificate, which the kubelet has not, whether the port is open. */}}
{{- define "busbar.probe" -}}
{{- $tls := .root.Values.config.tls | default dict -}}
{{- if eq (default "none" $tls.client_certificates) "required" -}}
tcpSocket:
  port: http
{{- else -}}
httpGet:
  path: {{ .path }}
  port: http
  {{- if $tls.certificate }}
  scheme: HTTPS
  {{- end }}
{{- end -}}
{{- end -}}
