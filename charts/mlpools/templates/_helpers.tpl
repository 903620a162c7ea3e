{{- /*
One installation serves a cluster: a second one would decide about the same pools. So names are fixed, and
Helm refuses a second release because its ClusterRole belongs to the first.
*/}}
{{- define "mlpools.operator" -}}mlpools-operator{{- end }}

{{- /* What the operator's own pods are found by: never changes, a Deployment's selector cannot. */}}
{{- define "mlpools.selector" -}}
app.kubernetes.io/name: mlpools
app.kubernetes.io/component: operator
{{- end }}

{{- define "mlpools.labels" -}}
{{ include "mlpools.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* A reference from {"image": one of .Values.image, "version": the chart's appVersion}. */}}
{{- define "mlpools.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .version }}
{{- end }}
{{- end }}

{{- define "mlpools.subject" -}}
- kind: ServiceAccount
  name: {{ include "mlpools.operator" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* The catalogue of machines as the operator reads it. */}}
{{- define "mlpools.families" -}}
{{ .Values.instanceFamilies | toJson }}
{{- end }}
