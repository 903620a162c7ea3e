"""A manifest as a task for this machine."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlpools.contract import Task
from mlpools.errors import BadHyperParameter, InvalidSpec, JobError, SecretMissing
from mlpools_cli import variables
from mlpools_cli.manifest import Manifest, check_fields
from mlpools_cli.places import Places
from mlpools_operator.api.v1alpha1 import TrainingJobSpec, parse
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.observed import Meta, Resource
from mlpools_operator.domain.pods import indexed_job
from mlpools_operator.domain.training import preflight

#: Fields that say when a job runs, which is now.
_WHEN = ("schedule", "suspend", "cancel")
_REFUSALS: Mapping[str, type[JobError]] = {"BadHyperParameter": BadHyperParameter}


@dataclasses.dataclass(frozen=True)
class Given:
    """What a person said on the command line.

    Attributes:
        nodes: instead of ``spec.nodes``; None = as it is there.
        mode: instead of ``spec.output.mode``; None = as it is there.
        mounts: folders for mount paths.
        secrets: folders with the keys of Secrets.
    """

    nodes: int | None = None
    mode: str | None = None
    mounts: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    secrets: Mapping[str, Path] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LocalJob:
    """What to run.

    Attributes:
        spec: of the job, valid.
        task: with URLs of this machine.
        variables: of the manifest.
        connections: the folder with the keys of each data set that is in a database.
        notes: what is different from a cluster, a clause each.
    """

    spec: TrainingJobSpec
    task: Task
    variables: dict[str, str]
    connections: dict[str, Path]
    notes: list[str]


def prepare(job: Manifest, given: Given, shell: Mapping[str, str] = os.environ) -> LocalJob:
    """Check a manifest as the operator does, and make a task of it.

    Raises:
        JobError: it cannot run, or not on this machine.
    """
    resource = Resource(Meta(job.name, str(uuid.uuid4()), job.namespace), _chosen(job.spec, given))
    spec = _checked(resource)
    task = indexed_job.task(resource, spec, _this_machine(spec), 0, 1, Defaults("", "", {}))
    places = Places(given.mounts, {mount.mount_path: mount.name for mount in spec.volume_mounts})
    task = dataclasses.replace(
        task,
        data={name: places.urls(f"data.{name}", source) for name, source in task.data.items()},
        output=places.urls("output.url", task.output),
        checkpoint=places.urls("checkpoint.url", task.checkpoint),
        required=[],
        packages={},
    )
    return LocalJob(
        spec,
        task,
        variables.variables(job, spec, shell),
        _connections(spec, given.secrets),
        [*variables.notes(spec), *_package_notes(spec), *_time_notes(job.spec)],
    )


def _chosen(spec: Mapping[str, Any], given: Given) -> dict[str, Any]:
    chosen = {name: value for name, value in spec.items() if name not in _WHEN}
    if given.nodes is not None:
        chosen["nodes"] = given.nodes
    if given.mode is not None and isinstance(chosen.get("output"), dict):
        chosen["output"] = {**chosen["output"], "mode": given.mode}
    return chosen


def _checked(resource: Resource) -> TrainingJobSpec:
    try:
        spec = preflight.check(resource, started=False)
    except preflight.RefusedError as refused:
        raise _REFUSALS.get(refused.reason, InvalidSpec)(str(refused)) from None
    check_fields(resource.spec, spec)
    return spec


def _this_machine(spec: TrainingJobSpec) -> Any:
    """Return the pool that this machine is."""
    shape = {"cpu": os.cpu_count() or 1, "memory": "1Gi"}
    return parse("ComputePool", {"instance": shape, "maxNodes": spec.nodes})


def _connections(spec: TrainingJobSpec, secrets: Mapping[str, Path]) -> dict[str, Path]:
    folders = {}
    for name, source in spec.data.items():
        if source.sql is None:
            continue
        secret = source.sql.connection_secret
        if secret not in secrets:
            raise SecretMissing(
                f"data.{name} is in a database whose address is in the cluster's Secret {secret}. Say which "
                f"folder of this machine has its keys as files: --secret {secret}=FOLDER."
            )
        folders[name] = secrets[secret]
    return folders


def _package_notes(spec: TrainingJobSpec) -> list[str]:
    notes = []
    for wanted in spec.runtime.packages:
        name, _, version = wanted.partition("==")
        try:
            here = importlib.metadata.version(name.partition("[")[0])
        except importlib.metadata.PackageNotFoundError:
            here = ""
        if here != version:
            notes.append(f"the job installs {wanted}, and this environment has {here or 'none'} of it")
    if spec.runtime.requirements is not None:
        notes.append(f"ConfigMap {spec.runtime.requirements.name} with requirements is not looked at")
    return notes


def _time_notes(spec: Mapping[str, Any]) -> list[str]:
    ignored = [name for name in _WHEN if spec.get(name)]
    return [f"spec.{name} is ignored: it runs once, now" for name in ignored]
