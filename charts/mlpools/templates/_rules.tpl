{{- /*
The operator's rights: exactly the requests that it makes. On Secrets it has none.
*/}}

{{- /* ComputePools are cluster-scoped, so this is a ClusterRole whatever namespaces are served. */}}
{{- define "mlpools.rules.pools" -}}
- apiGroups: [mlpools.dev]
  resources: [computepools]
  verbs: [list, watch]
- apiGroups: [mlpools.dev]
  resources: [computepools/status]
  verbs: [update]
{{- end }}

{{- define "mlpools.rules.namespaced" -}}
- apiGroups: [mlpools.dev]
  resources: [trainingjobs]
  verbs: [list, watch]
- apiGroups: [mlpools.dev]
  resources: [trainingjobs/status]
  verbs: [update]
# An attempt is created once and never changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
# Server-side apply of an object that is not there yet takes both verbs.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# List: why the Job controller could not create pods is told in an Event only.
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end }}

{{- /* Events about cluster-scoped objects belong into this namespace. */}}
{{- define "mlpools.rules.poolEvents" -}}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
