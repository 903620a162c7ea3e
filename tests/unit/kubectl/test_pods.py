"""Which pod is meant, the pod that reads a volume, and the URL that opens a notebook."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlpools_kubectl import courier, debugging, opening, pods
from mlpools_kubectl.cluster import Object
from mlpools_kubectl.failures import Failure
from tests.support.manifests import manifest


def pod(name: str, attempt: int, rank: int | None = None, born: int = 0) -> Object:
    annotations = {} if rank is None else {"batch.kubernetes.io/job-completion-index": str(rank)}
    metadata = {"labels": {"mlpools.dev/attempt": str(attempt)}, "annotations": annotations, "name": name}
    return {"metadata": {**metadata, "creationTimestamp": f"2026-01-01T00:00:0{born}Z"}}


PODS = [pod("a", 1, 0), pod("b", 2, 0, 1), pod("c", 2, 1, 1), pod("d", 2, 1, 2)]


@pytest.mark.parametrize(
    ("rank", "attempt", "name"), [(0, None, "b"), (1, None, "d"), (0, 1, "a"), (1, 1, None), (2, None, None)]
)
def test_the_newest_pod_of_a_rank_of_the_last_attempt(
    rank: int, attempt: int | None, name: str | None
) -> None:
    found = pods.choose(PODS, rank, attempt)
    assert (found["metadata"]["name"] if found else None) == name


def test_a_notebook_has_rank_0() -> None:
    assert pods.choose([pod("nb-alice-0", 3)], 0) is not None
    assert pods.choose([], 0) is None


def job(**changes: Any) -> Object:
    return manifest("TrainingJob", "delay", changes)


def test_a_shelf_is_the_deepest_mount_above_the_path() -> None:
    volumes = [
        {"name": "all", "persistentVolumeClaim": {"claimName": "everything"}},
        {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
    ]
    mounts = [
        {"name": "all", "mountPath": "/data"},
        {"name": "models", "mountPath": "/data/models", "subPath": "team-a"},
    ]
    of = job(volumes=volumes, volumeMounts=mounts)
    assert courier.shelf(of, "/data/models/x").claim == "models"
    assert courier.shelf(of, "/data/models-old").claim == "everything"
    with pytest.raises(Failure, match="only its pods"):
        courier.shelf(of, "/elsewhere")
    with pytest.raises(Failure, match="only its pods"):
        courier.shelf(job(volumes=[{"name": "data", "csi": {}}]), "/data/models")


def test_a_courier_reads_as_the_job_s_pods_do_and_can_nothing_else() -> None:
    of: Object = {
        "containers": [{"name": "sidecar", "image": "other"}, {"name": "main", "image": "runtime:1"}],
        "securityContext": {"runAsUser": 2000, "fsGroup": 3000, "sysctls": [{"name": "x"}]},
        "tolerations": [{"key": "gpu"}],
        "nodeSelector": {"gpu": "yes"},
    }
    place = courier.Shelf("models", {"name": "data", "mountPath": "/data", "subPath": "a"}, "/data/x")
    image = courier.image(job(), of, None)
    made = courier.pod(job(), place, of, image)["spec"]
    [container] = made["containers"]
    assert container["image"] == "runtime:1"
    assert container["volumeMounts"] == [
        {"name": "courier", "mountPath": "/data", "subPath": "a", "readOnly": True}
    ]
    security = made["securityContext"]
    assert (security["runAsUser"], security["fsGroup"], security["runAsNonRoot"]) == (2000, 3000, True)
    assert "sysctls" not in security
    assert made["automountServiceAccountToken"] is False
    assert made["tolerations"] == of["tolerations"]
    assert "nodeSelector" not in made
    assert courier.pod(job(), place, {"securityContext": {"runAsUser": 0}}, image)["spec"]["securityContext"][
        "runAsUser"
    ]


def test_an_image_is_asked_for_if_nothing_tells_one() -> None:
    assert courier.image(job(), {}, "mine") == "mine"
    assert courier.image(job(**{"runtime.image": "own:1"}), {}, None) == "own:1"
    with pytest.raises(Failure, match="by --image"):
        courier.image(job(), {}, None)


def test_the_url_of_a_notebook_keeps_its_path_and_quotes_its_token() -> None:
    bare = {"status": {"url": "http://nb-alice.team-a.svc.cluster.local:8888/"}}
    assert opening.address(bare, 9000, "a+b/c") == "http://127.0.0.1:9000/?token=a%2Bb%2Fc"
    behind = {"status": {"url": "http://nb-alice.team-a.svc:8888/team-a/alice/"}}
    assert opening.address(behind, 9000, "t") == "http://127.0.0.1:9000/team-a/alice/?token=t"


def test_of_the_operator_s_log_are_kept_lines_about_the_object() -> None:
    objects = [{"kind": "TrainingJob", "metadata": {"namespace": "a", "name": "x"}}]
    mine = json.dumps({"kind": "TrainingJob", "namespace": "a", "name": "x", "message": "Admitted."})
    theirs = json.dumps({"kind": "TrainingJob", "namespace": "b", "name": "x", "message": "Admitted."})
    plain = "12:00:00 INFO TrainingJob/a/x Admitted."
    lines = [mine, theirs, plain, "12:00:00 INFO TrainingJob/a/xy Admitted.", "3", ""]
    assert list(debugging.about(lines, objects)) == [mine, plain]
