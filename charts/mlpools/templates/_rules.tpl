{{- /*
The operator's rights: exactly the requests that it makes. Of Secrets it may make new ones, and read none.
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

{{- /* The labels of namespaces say who may use a pool: all are watched, or those of a list read one by one. */}}
{{- define "mlpools.rules.allNamespaces" -}}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}

{{- define "mlpools.rules.oneNamespace" -}}
{{ include "mlpools.rules.namespaced" . }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}

{{- /*
What was used of each pool is written down in the operator's own namespace, and deleted when its pool is gone and nothing
in it counts any more.
*/}}
{{- define "mlpools.rules.usage" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, update, delete]
{{- end }}

{{- define "mlpools.rules.namespaced" -}}
# Create: runs of a schedule. Delete: what has ended, after ttlSecondsAfterFinished or beyond historyLimit; a run that is
# replaced.
- apiGroups: [mlpools.dev]
  resources: [trainingjobs, batchinferences]
  verbs: [get, list, watch, create, delete]
- apiGroups: [mlpools.dev]
  resources: [notebookruntimes]
  verbs: [list, watch]
- apiGroups: [mlpools.dev]
  resources: [trainingjobs/status, batchinferences/status, notebookruntimes/status]
  verbs: [update]
# A notebook's pod is made at each start and deleted at each stop.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, delete]
# With a cluster it may scale itself, which only those can allow who may do so themselves.
- apiGroups: [mlpools.dev]
  resources: [notebookruntimes/scale]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
# Its workspace may grow, and is never deleted by the operator.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# Its token is made up and written once; nobody here can read it.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# Patch: the number of pods of a batch inference. Otherwise an attempt is created once and never changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# Server-side apply of an object that is not there yet takes both create and patch.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# Delete: a pool may stop isolating its jobs, and with a TTL's end all children of a job go.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Delete: a notebook may give up its host.
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# List: why pods could not be created, and why a notebook's volume is not there, is told in Events only.
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

{{- /* Where the API server itself is, which a notebook's NetworkPolicy has to name. */}}
{{- define "mlpools.rules.apiServer" -}}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  resourceNames: [kubernetes]
  verbs: [get]
{{- end }}

{{- /* By which operators agree who leads. No name can be asked for in a right to create. */}}
{{- define "mlpools.rules.lease" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "mlpools.operator" . }}]
  verbs: [get, update]
{{- end }}

{{- /* Placeholders keep a pool's nodes warm. They are in the operator's own namespace and nowhere else. */}}
{{- define "mlpools.rules.placeholders" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
{{- end }}
