"""Who gets to a notebook, and by which way."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1.common import ObjectName
from mlpools_operator.api.v1alpha1.meta import Model


class IngressTLS(Model):
    """The certificate of a notebook's host."""

    secret_name: ObjectName | None = None
    """Secret with the certificate of the host. Absent: the Ingress controller's own, such as that of the
    whole domain."""


class NotebookIngress(Model):
    """The way from outside the cluster: a host of the notebook's own, under the operator's domain."""

    class_name: ObjectName | None = None
    """Name of the IngressClass. Absent: the cluster's default one."""
    tls: IngressTLS | None = None
    """Serve it by https. Absent: by http, which shows the token to whoever listens."""


class NotebookAccess(Model):
    """Who gets in."""

    token_secret: ObjectName | None = None
    """Secret whose key token is asked for at login. Absent: one is made, and made again if it is deleted."""
    ingress: NotebookIngress | None = None
    """A host of its own, at which browsers reach it. Absent: it is reached inside the cluster, and by
    `kubectl port-forward`."""
