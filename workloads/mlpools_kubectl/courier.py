"""The short-lived pod that reads a job's volume for ``fetch``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlpools_kubectl.cluster import Object
from mlpools_kubectl.failures import Failure
from mlpools_kubectl.names import called
from mlpools_kubectl.screen import said
from mlpools_operator.api.v1alpha1.pool_template import MAIN
from mlpools_operator.domain.pods import restricted

NAME = "courier"
#: It ends by itself then, should nobody be left to remove it.
DEADLINE_SECONDS = 3600
#: Who may read the volume's files, from the job's own pods.
_IDENTITY = ("runAsUser", "runAsGroup", "fsGroup", "supplementalGroups")
_ROOT = 0
_SMALL = {"cpu": "10m", "memory": "32Mi"}


@dataclass(frozen=True)
class Shelf:
    """Where a path of a job's pods lies on a claim.

    Attributes:
        claim: name of the claim.
        mount: the job's mount of it, as in its spec.
        path: in the pods.
    """

    claim: str
    mount: Object
    path: str


def shelf(job: Object, path: str) -> Shelf:
    """Return where a path of a job's pods lies.

    Raises:
        Failure: not on a claim.
    """
    spec = job["spec"]
    above = [it for it in spec.get("volumeMounts") or () if f"{path}/".startswith(f"{it['mountPath']}/")]
    mount = max(above, key=lambda it: len(it["mountPath"]), default=None)
    volume = next((it for it in spec.get("volumes") or () if mount and it["name"] == mount["name"]), None)
    claim = said(volume, "persistentVolumeClaim", "claimName")
    if mount is None or claim is None:
        raise Failure(
            f"{called(job)} writes to {path}, which is not on a PersistentVolumeClaim: only its pods can "
            "read that."
        )
    return Shelf(claim, mount, path)


def template(job: Object, attempts: Sequence[Object]) -> Object:
    """Return the pod template of a job's last attempt; empty if none of its Jobs is left."""
    newest = max(attempts, key=lambda it: str(it["metadata"]["creationTimestamp"]), default=None)
    found: Object = said(newest, "spec", "template", "spec") or {}
    return found


def image(job: Object, of: Object, given: str | None) -> str:
    """Return an image that has ``tar``, and that is on the machines already if it is the job's.

    Args:
        job: whose files are wanted.
        of: the pod template of its last attempt.
        given: on the command line.

    Raises:
        Failure: nothing tells one.
    """
    own = next((str(it["image"]) for it in of.get("containers") or () if it["name"] == MAIN), None)
    chosen = given or own or said(job, "spec", "runtime", "image")
    if not chosen:
        raise Failure(
            f"The pods of {called(job)} are gone, and with them what image they had: name one that has tar "
            "by --image."
        )
    return str(chosen)


def pod(job: Object, place: Shelf, of: Object, image: str) -> Object:
    """Return the pod: restricted, without any credential, and with nothing but the job's claim, to read.

    Args:
        job: whose files are wanted.
        place: where they lie.
        of: the pod template of its last attempt.
        image: with ``tar`` and ``sleep``.
    """
    own = {key: value for key, value in (of.get("securityContext") or {}).items() if key in _IDENTITY}
    if own.get("runAsUser") == _ROOT:
        del own["runAsUser"]
    mount = {**place.mount, "name": NAME, "readOnly": True}
    container = {
        "name": NAME,
        "image": image,
        "command": ["sleep", str(DEADLINE_SECONDS)],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "securityContext": restricted.container(),
        "volumeMounts": [mount],
    }
    spec: Object = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {**restricted.pod(), **own},
        "containers": [container],
        "volumes": [{"name": NAME, "persistentVolumeClaim": {"claimName": place.claim}}],
    }
    for field in ("tolerations", "imagePullSecrets"):
        if of.get(field):
            spec[field] = of[field]
    metadata = {
        "generateName": "mlpools-fetch-",
        "labels": {"app.kubernetes.io/name": "mlpools-fetch"},
        "annotations": {"mlpools.dev/fetches": job["metadata"]["name"]},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
