"""Names, labels and annotations of children: a pure function of their owner, never random.

Names fit their place by a hash: a pod's hostname is ``<job>-<attempt>-<index>`` and has 63 characters at
most, while a job's own name may have 253 and contain dots.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlpools_operator.api.v1alpha1 import API_VERSION
from mlpools_operator.domain.observed import Meta
from mlpools_operator.domain.plan import Object

#: Owner of the fields that we apply.
FIELD_MANAGER = "mlpools"

_DOMAIN = "mlpools.dev"
JOB_NAME = f"{_DOMAIN}/job-name"
JOB_UID = f"{_DOMAIN}/job-uid"
KIND = f"{_DOMAIN}/kind"
ATTEMPT = f"{_DOMAIN}/attempt"
POOL = f"{_DOMAIN}/pool"
SCHEDULE = f"{_DOMAIN}/schedule"
#: On the pods of a notebook: which part of it they are.
PART = f"{_DOMAIN}/part"
SERVER, NODE = "server", "node"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "mlpools"

#: On a claim: the notebook whose workspace it is, also after the notebook's end.
NOTEBOOK = f"{_DOMAIN}/notebook"

#: On the StatefulSet of a notebook: ``true`` if its pod is the head of a Ray cluster.
CLUSTER = f"{_DOMAIN}/cluster"
SPEC_HASH = f"{_DOMAIN}/spec-hash"
#: A person's wish that something which sleeps starts, with the time of the wish.
START_REQUESTED = f"{_DOMAIN}/start-requested-at"
#: On an attempt's Job: ``false`` if it was made without a NetworkPolicy, which its pool may want by now.
ISOLATION = f"{_DOMAIN}/isolation"

#: Finds every child of ours.
SELECTOR = f"{MANAGED_BY}={MANAGER}"


_LABEL_LENGTH = 63
#: Room for ``-<attempt>-<index>``: five digits each.
_BASE_LENGTH = _LABEL_LENGTH - len("-99999-99999")
_NAME_LENGTH = 253
_RUN_TIME = "%Y%m%d%H%M"
#: A Service's name begins with a letter, a job's name may begin with a digit.
_SERVICE_PREFIX = "tj-"
_NOTEBOOK_PREFIX = "nb-"
_CLUSTER_PREFIX = "nbc-"
#: Kubernetes makes a label of a StatefulSet's name and a hash of its template.
_NOTEBOOK_LENGTH = _LABEL_LENGTH - len("-0123456789")
_USAGE_PREFIX = "mlpools-usage-"
_USAGE_LENGTH = _NAME_LENGTH - len(_USAGE_PREFIX)


def attempt_job(job: str, attempt: int) -> str:
    """Return the name of an attempt's Job, such as ``arrival-delay-1``."""
    return f"{_short(job, _BASE_LENGTH)}-{attempt}"


def hostname(job: str, attempt: int, rank: int) -> str:
    """Return the hostname that Kubernetes gives to a rank's pod, such as ``arrival-delay-1-0``."""
    return f"{attempt_job(job, attempt)}-{rank}"


def service(job: str) -> str:
    """Return the name of a job's headless Service, which all its attempts share."""
    return _SERVICE_PREFIX + _short(job, _LABEL_LENGTH - len(_SERVICE_PREFIX))


def network_policy(job: str) -> str:
    """Return the name of a job's NetworkPolicy."""
    return service(job)


def notebook(name: str) -> str:
    """Return the name of a notebook's StatefulSet, Service and NetworkPolicy, such as ``nb-alice``."""
    return _NOTEBOOK_PREFIX + _short(name, _NOTEBOOK_LENGTH - len(_NOTEBOOK_PREFIX))


def cluster(notebook: str) -> str:
    """Return the name of the Service under which the nodes of a notebook's cluster find its head."""
    return _CLUSTER_PREFIX + _short(notebook, _BASE_LENGTH - len(_CLUSTER_PREFIX))


def cluster_job(notebook: str, attempt: int) -> str:
    """Return the name of the Job that makes the further nodes of one start, such as ``nbc-alice-1``."""
    return f"{cluster(notebook)}-{attempt}"


def workspace(name: str) -> str:
    """Return the name of the claim of a notebook's workspace: the next notebook of that name finds it."""
    return f"{notebook(name)}-workspace"


def notebook_runs(name: str) -> str:
    """Return the name of the NetworkPolicy of a notebook's scheduled runs."""
    return f"{notebook(name)}-runs"


def token_secret(name: str) -> str:
    """Return the name of the Secret that opens a notebook, if its spec names none."""
    return f"{notebook(name)}-token"


def host_label(namespace: str, name: str) -> str:
    """Return the first label of a notebook's host, such as ``alice-team-a-1a2b3c4d``.

    Always with a hash: ``a-b`` of ``c`` and ``a`` of ``b-c`` are two hosts. One label: so one certificate
    is enough for all hosts of a domain.
    """
    label = f"{name}-{namespace}".replace(".", "-")
    return _hashed(label, f"{namespace}/{name}", _LABEL_LENGTH)


def usage(pool: str) -> str:
    """Return the name of the ConfigMap in which a pool's use is written down."""
    return _USAGE_PREFIX + (pool if len(pool) <= _USAGE_LENGTH else _hashed(pool, pool, _USAGE_LENGTH))


def placeholder(pool: str, shape: str, index: int) -> str:
    """Return the name of a placeholder pod, such as ``cpu-1a2b3c4d-0``: a hostname too, so it fits one.

    Args:
        pool: its owner.
        shape: hash of what it is built of.
        index: tells it from the pool's others.
    """
    return f"{_short(pool, _BASE_LENGTH - 9)}-{shape[:8]}-{index}"


def run(template: str, scheduled: float) -> str:
    """Return the name of a schedule's run: its UTC minute is in it, so a time has one run."""
    time = datetime.fromtimestamp(scheduled, UTC).strftime(_RUN_TIME)
    length = _NAME_LENGTH - len(f"-{time}")
    base = template if len(template) <= length else _hashed(template, template, length)
    return f"{base}-{time}"


def labels(kind: str, owner: Meta, pool: str, attempt: int | None = None) -> dict[str, str]:
    """Return the labels of a child; those of its owner are never copied (a GitOps tool would prune it)."""
    own = {
        MANAGED_BY: MANAGER,
        KIND: kind,
        JOB_NAME: label_value(owner.name),
        JOB_UID: owner.uid,
        POOL: label_value(pool),
    }
    return own if attempt is None else {**own, ATTEMPT: str(attempt)}


def belongs(child: Meta, owner: Meta) -> bool:
    """Whether an object may be written as a child of its owner.

    That is what names it as its controller, and what has none and is kept for notebooks of the owner's name.
    """
    return child.owner == owner.uid or (
        not child.owner
        and child.labels.get(MANAGED_BY) == MANAGER
        and child.labels.get(NOTEBOOK) == label_value(owner.name)
    )


def label_value(name: str) -> str:
    """Return an object's name as the value of a label: 63 characters at most."""
    return name if len(name) <= _LABEL_LENGTH else _hashed(name, name, _LABEL_LENGTH)


def owner_reference(kind: str, owner: Meta) -> dict[str, Any]:
    """Return the reference by which the garbage collector finds a child.

    It does not block the owner's deletion: that would need a right on our kinds' finalizers.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def with_hash(child: Object) -> Object:
    """Return the object with an annotation that tells whether what we built has changed."""
    text = json.dumps(child, sort_keys=True, separators=(",", ":"))
    metadata = child["metadata"]
    annotations = {**metadata.get("annotations", {}), SPEC_HASH: _digest(text, 16)}
    return {**child, "metadata": {**metadata, "annotations": annotations}}


def spec_hash(child: Mapping[str, Any]) -> str:
    """Return the hash in a built object's annotation."""
    value: str = child["metadata"]["annotations"][SPEC_HASH]
    return value


def _short(name: str, length: int) -> str:
    """Return a DNS label: the name itself if it is one and fits, else its beginning and a hash."""
    label = name.replace(".", "-")
    return name if label == name and len(name) <= length else _hashed(label, name, length)


def _hashed(label: str, name: str, length: int) -> str:
    digest = _digest(name, 8)
    return f"{label[: length - 9].rstrip('-.')}-{digest}"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
