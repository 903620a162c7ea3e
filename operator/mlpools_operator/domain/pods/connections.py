"""The Secrets of a job's databases, as files under the names of the data that they give access to.

They are mounted as optional for the same reason as a job's own (``mounted``): the pod says what is missing.
"""

from __future__ import annotations

from typing import Any

from mlpools.contract.wiring import CONNECTIONS_MOUNT
from mlpools_operator.api.v1alpha1 import JobSpec
from mlpools_operator.api.v1alpha1.volumes import OWN_VOLUME_PREFIX
from mlpools_operator.domain.plan import Object

#: A client's TLS key must not be anybody's to read, or PostgreSQL's library refuses it.
_MODE = 0o440


def volumes(spec: JobSpec) -> list[Object]:
    """Return a volume for each database; data names may be too long for a volume's."""
    return [
        {"name": _volume(at), "secret": {"secretName": secret, "optional": True, "defaultMode": _MODE}}
        for at, (_, secret) in enumerate(_secrets(spec))
    ]


def mounts(spec: JobSpec) -> list[Object]:
    """Return where those volumes appear."""
    return [
        {"name": _volume(at), "mountPath": _path(name), "readOnly": True}
        for at, (name, _) in enumerate(_secrets(spec))
    ]


def required(spec: JobSpec) -> list[dict[str, Any]]:
    """Return what has to be at each mount, as ``mounted.required`` does."""
    return [
        {"kind": "Secret", "name": secret, "path": _path(name), "files": []}
        for name, secret in _secrets(spec)
    ]


def _secrets(spec: JobSpec) -> list[tuple[str, str]]:
    """Return the names of data and of their Secrets, in one order."""
    return [
        (name, source.sql.connection_secret)
        for name, source in sorted(spec.sources.items())
        if source.sql is not None
    ]


def _path(name: str) -> str:
    return f"{CONNECTIONS_MOUNT}/{name}"


def _volume(at: int) -> str:
    return f"{OWN_VOLUME_PREFIX}connection-{at}"
