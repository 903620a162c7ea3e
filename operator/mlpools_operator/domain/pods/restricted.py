"""What the restricted Pod Security standard asks of a pod and its container: the same for all we make."""

from __future__ import annotations

from mlpools_operator.domain.plan import Object

#: User and group of the runtime image.
USER = 1000


def pod(user: int = USER, fs_group: int | None = None) -> Object:
    """Return a pod's security context.

    Args:
        user: as whom it runs.
        fs_group: to which the files of its volumes are given; None: the platform's own choice.
    """
    built: Object = {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    given = {"fsGroup": fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    return built if fs_group is None else built | given


def container() -> Object:
    """Return a container's security context."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
