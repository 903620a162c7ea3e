"""A manifest as a task for this machine."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlpools.contract.tasks import Task
from mlpools.errors import BadHyperParameter, InvalidSpec, JobError, SecretMissing
from mlpools_cli import variables
from mlpools_cli.manifest import Manifest, check_fields
from mlpools_cli.places import Places
from mlpools_operator.api.v1alpha1 import InvalidSpec as Unreadable
from mlpools_operator.api.v1alpha1 import JobSpec, TrainingJobSpec, parse
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.job.kind import AnyKind, RefusedError
from mlpools_operator.domain.kinds import JOB_KINDS
from mlpools_operator.domain.observed import Meta, Resource
from mlpools_operator.domain.pods import indexed_job

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
        keys: folders with the keys of Secrets and ConfigMaps.
    """

    nodes: int | None = None
    mode: str | None = None
    mounts: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    keys: Mapping[str, Path] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LocalJob:
    """What to run.

    Attributes:
        kind: of the job.
        spec: of the job, valid.
        task: with URLs of this machine.
        variables: of the manifest.
        connections: the folder with the keys of each data set that is in a database.
        code: the folder with the files of a ConfigMap of code, or with the keys for its repository.
        notes: what is different from a cluster, a clause each.
    """

    kind: AnyKind
    spec: JobSpec
    task: Task
    variables: dict[str, str]
    connections: dict[str, Path]
    code: Path | None
    notes: list[str]


def prepare(job: Manifest, given: Given, shell: Mapping[str, str] = os.environ) -> LocalJob:
    """Check a manifest as the operator does, and make a task of it.

    Raises:
        JobError: it cannot run, or not on this machine.
    """
    _check_times(job)
    kind = JOB_KINDS[job.kind]
    resource = Resource(Meta(job.name, str(uuid.uuid4()), job.namespace), _chosen(job.spec, given))
    spec = _checked(kind, resource)
    work, machine = kind.work(spec), _this_machine(spec)
    task = indexed_job.task(resource, spec, work, machine, 0, 1, Defaults("", "", {}))
    places = _places(spec, given)
    trains = isinstance(spec, TrainingJobSpec)
    task = dataclasses.replace(
        task,
        spec=places.program(task.framework, task.spec) if trains else places.urls("model.url", task.spec),
        code=places.urls("code.url", task.code),
        data={name: places.urls(_field(spec, name), source) for name, source in task.data.items()},
        output=places.urls("output.url", task.output),
        checkpoint=places.urls("checkpoint.url", task.checkpoint),
        required=[],
        packages={},
    )
    return LocalJob(
        kind,
        spec,
        task,
        variables.variables(job, spec, given.keys, shell),
        _connections(spec, given.keys),
        _code(spec, given.keys),
        [*variables.notes(spec, given.keys), *_package_notes(spec), *_time_notes(job.spec)],
    )


def _chosen(spec: Mapping[str, Any], given: Given) -> dict[str, Any]:
    chosen = {name: value for name, value in spec.items() if name not in _WHEN}
    if given.nodes is not None:
        chosen["nodes"] = given.nodes
    if given.mode is not None and isinstance(chosen.get("output"), dict):
        chosen["output"] = {**chosen["output"], "mode": given.mode}
    return chosen


def _field(spec: JobSpec, name: str) -> str:
    """Return the field of a spec that a data set of this name is in."""
    return f"data.{name}" if isinstance(spec, TrainingJobSpec) else name


def _check_times(job: Manifest) -> None:
    """Refuse what a cluster would refuse about when a job runs, although that is now."""
    if any(job.spec.get(name) for name in _WHEN):
        try:
            check_fields(job.spec, parse(job.kind, job.spec))
        except Unreadable as error:
            raise InvalidSpec(str(error)) from None


def _checked(kind: AnyKind, resource: Resource) -> JobSpec:
    try:
        spec: JobSpec = kind.check(resource, False)
    except RefusedError as refused:
        raise _REFUSALS.get(refused.reason, InvalidSpec)(str(refused)) from None
    check_fields(resource.spec, spec)
    return spec


def _this_machine(spec: JobSpec) -> Any:
    """Return the pool that this machine is."""
    shape = {"cpu": os.cpu_count() or 1, "memory": "1Gi"}
    return parse("ComputePool", {"instance": shape, "maxNodes": spec.nodes})


def _places(spec: JobSpec, given: Given) -> Places:
    config_maps = {it.name: it.config_map.name for it in spec.volumes if it.config_map}
    named = {**config_maps, **{it.name: it.secret.secret_name for it in spec.volumes if it.secret}}
    mounts = {mount.mount_path: mount.name for mount in spec.volume_mounts}
    keys = {path: given.keys[named[name]] for path, name in mounts.items() if named.get(name) in given.keys}
    return Places({**keys, **given.mounts}, mounts)


def _code(spec: JobSpec, keys: Mapping[str, Path]) -> Path | None:
    if spec.code is None:
        return None
    config_map, git = spec.code.config_map, spec.code.git
    name = config_map or (git.secret if git else None)
    if name is None:
        return None
    if name not in keys:
        what = "ConfigMap" if config_map else "Secret"
        where = "put it into the same file, or say" if config_map else "say"
        raise SecretMissing(
            f"The job's code needs {what} {name} of the cluster: {where} which folder here has its keys as "
            f"files: --keys {name}=FOLDER."
        )
    return keys[name]


def _connections(spec: JobSpec, keys: Mapping[str, Path]) -> dict[str, Path]:
    folders = {}
    for name, source in spec.sources.items():
        if source.sql is None:
            continue
        secret = source.sql.connection_secret
        if secret not in keys:
            raise SecretMissing(
                f"{_field(spec, name)} is in a database whose address is in the cluster's Secret {secret}. "
                f"Say which folder of this machine has its keys as files: --keys {secret}=FOLDER."
            )
        folders[name] = keys[secret]
    return folders


def _package_notes(spec: JobSpec) -> list[str]:
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
