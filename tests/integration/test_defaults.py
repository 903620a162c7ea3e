"""What the API server writes into an object whose manifest leaves it out: all of it, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.custom_objects import CustomObjects
from tests.support.kube import Kube
from tests.support.manifests import ABSENT, manifest, spec
from tools.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.integration

#: What the API server writes into a job of xgboost, beside what its manifest says.
DEFAULTS_OF_A_JOB = {
    "nodes": 1,
    "priority": 0,
    "suspend": False,
    "cancel": False,
    "maxRestarts": 3,
    "restartBackoffSeconds": 10,
    "startTimeoutSeconds": 720,
    "hangTimeoutSeconds": 1800,
    "terminationGracePeriodSeconds": 60,
    "checkpoint": {"keep": 2},
    "output.mode": "Error",
    "runtime": {},
    "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
    "xgboost.rounds": 100,
    "xgboost.objective": "reg:squarederror",
    "xgboost.externalMemory": "auto",
}
DEFAULTS_OF_SECTIONS = {
    "lightgbm": ({"label": "y"}, {"rounds": 100, "objective": "regression", "treeLearner": "data"}),
    "pytorch": ({"module": "train"}, {"backend": "auto"}),
    "script": ({"module": "train"}, {"launcher": "none"}),
}
DEFAULTS_OF_A_SCHEDULE = {
    "timeZone": "UTC",
    "concurrencyPolicy": "Forbid",
    "startingDeadlineSeconds": 3600,
    "historyLimit": 3,
}
DEFAULTS_OF_A_POOL = {
    "instance.gpus": 0,
    "instance.gpuResource": "nvidia.com/gpu",
    "capacityTimeoutSeconds": 300,
    "minNodes": 0,
    "autoSuspendSeconds": 3600,
    "autoResume": True,
    "initiallySuspended": False,
    "suspend": False,
    "queue": {
        "preemption": "Never",
        "backfill": True,
        "backfillMaxWaitSeconds": 600,
        "fairShare": True,
        "disclose": "Names",
    },
    "namespaces": {},
    "placement": {"topologyKey": "kubernetes.io/hostname", "strategy": "Any", "required": False},
    "network": {"profile": "Pod", "ipcLock": False, "sharedMemory": "30%", "isolation": True},
    "packages": {"allow": ["*"]},
    "runtime": {"requireDigest": False},
    "cache": {"size": "10Gi"},
    "preflight": {"enabled": False, "timeoutSeconds": 120},
    "lostNodeSeconds": 30,
}


@pytest.fixture
def objects(kube: Kube, control_plane: ControlPlane) -> CustomObjects:
    """What the cluster takes, once it serves our kinds."""
    return CustomObjects(control_plane)


@pytest.mark.parametrize(
    ("kind", "defaults"), [("TrainingJob", DEFAULTS_OF_A_JOB), ("ComputePool", DEFAULTS_OF_A_POOL)]
)
def test_defaults_that_a_user_should_see_are_written_and_no_others(
    objects: CustomObjects, kind: str, defaults: dict[str, Any]
) -> None:
    assert objects.create(manifest(kind, "defaults"))["spec"] == spec(kind, defaults)


@pytest.mark.parametrize("section", DEFAULTS_OF_SECTIONS)
def test_defaults_of_a_section_are_written_and_no_others(objects: CustomObjects, section: str) -> None:
    given, defaults = DEFAULTS_OF_SECTIONS[section]
    made = objects.create(manifest("TrainingJob", "defaults", {"xgboost": ABSENT, section: given}))
    assert made["spec"][section] == {**given, **defaults}


def test_defaults_of_a_schedule_are_written_and_no_others(objects: CustomObjects) -> None:
    made = objects.create(manifest("TrainingJob", "defaults", {"schedule": {"cron": "0 2 * * *"}}))
    assert made["spec"]["schedule"] == {"cron": "0 2 * * *", **DEFAULTS_OF_A_SCHEDULE}
