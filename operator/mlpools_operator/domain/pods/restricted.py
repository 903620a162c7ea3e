"""What the restricted Pod Security standard asks of a pod and its container: the same for all we make."""

from __future__ import annotations

from mlpools_operator.domain.plan import Object

#: User and group of the runtime image.
USER = 1000


def pod() -> Object:
    """Return a pod's security context."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container() -> Object:
    """Return a container's security context."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
