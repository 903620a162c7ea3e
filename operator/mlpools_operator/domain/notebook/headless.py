"""A run of a notebook's document: a TrainingJob on one node, in what the notebook itself would run in."""

from __future__ import annotations

import json
from typing import Any, Final

from mlpools.contract.wiring import WORKSPACE
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, NotebookRuntimeSpec, NotebookSchedule
from mlpools_operator.domain import naming
from mlpools_operator.domain.notebook.children import KIND
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import egress
from mlpools_operator.domain.pods.egress import Known
from mlpools_operator.domain.schedules import runs, stamping

#: The kind of a run.
RUN: Final = "TrainingJob"

_PROGRAM = "mlpools.notebook.headless"
#: Folder of the workspace in which each run has one of its own.
_OUTPUTS = f"file://{WORKSPACE}/runs"
#: What a run has from its notebook as it is.
_SHARED = ("computePool", "env", "envFrom", "serviceAccountName", "runtime")


def base(notebook: Resource) -> str:
    """Return what the names of a notebook's runs begin with: a TrainingJob of its name may have runs too."""
    return naming.notebook(notebook.meta.name)


def run(notebook: Resource, spec: NotebookRuntimeSpec, schedule: NotebookSchedule, due: float) -> Object:
    """Return the run of a time.

    Args:
        notebook: its owner.
        spec: of the notebook.
        schedule: of the notebook.
        due: its scheduled time.
    """
    local = runs.timetable(schedule).local(due)
    given = stamping.timed(dict(schedule.parameters), local)
    claim = naming.workspace(notebook.meta.name)
    section: Object = {
        "module": _PROGRAM,
        "args": [schedule.notebook, *(f"{name}={json.dumps(value)}" for name, value in given.items())],
    }
    made: Object = {
        **{field: notebook.spec[field] for field in _SHARED if field in notebook.spec},
        "nodes": 1,
        "workersPerNode": 1,
        "script": section,
        "output": {"url": _OUTPUTS},
        # A cell that only waits is at work; what bounds a run is its deadline.
        "hangTimeoutSeconds": 0,
        "securityContext": {"runAsUser": spec.storage.run_as_user, "fsGroup": spec.storage.fs_group},
        "volumes": [
            *notebook.spec.get("volumes", ()),
            {"name": claim, "persistentVolumeClaim": {"claimName": claim}},
        ],
        "volumeMounts": [
            *notebook.spec.get("volumeMounts", ()),
            {"name": claim, "mountPath": WORKSPACE},
        ],
    }
    if schedule.active_deadline_seconds is not None:
        made["activeDeadlineSeconds"] = schedule.active_deadline_seconds
    template = Resource(notebook.meta, made)
    name = naming.run(base(notebook), due)
    return stamping.run(template, RUN, name, local, reads=(), writes=("output",), made_by=KIND)


def policy(
    notebook: Resource, spec: NotebookRuntimeSpec, pool: ComputePoolSpec, known: Known, name: str
) -> Object:
    """Return the NetworkPolicy by which a run may connect to where its notebook may, and nowhere else.

    It adds to the run's own one, which says who gets in.
    """
    pods: dict[str, Any] = {"matchLabels": {naming.KIND: RUN, naming.JOB_NAME: naming.label_value(name)}}
    return naming.with_hash(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": naming.notebook_runs(notebook.meta.name),
                "namespace": notebook.meta.namespace,
                "labels": naming.labels(KIND, notebook.meta, spec.compute_pool),
                "ownerReferences": [naming.owner_reference(KIND, notebook.meta)],
            },
            "spec": {
                "podSelector": pods,
                "policyTypes": ["Egress"],
                "egress": egress.rules(egress.listed(spec), pool.packages, known),
            },
        }
    )
