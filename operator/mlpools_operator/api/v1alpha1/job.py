"""What the specs of all kinds of jobs have in common.

A job takes nodes of a pool, works on them from a beginning to an end, and leaves a result in its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.api.v1alpha1.common import IN_A_STORE, ObjectName, StorageURL, is_in_a_store
from mlpools_operator.api.v1alpha1.meta import Extension, Model, Rule, camel
from mlpools_operator.api.v1alpha1.pods import PodsSpec, User
from mlpools_operator.api.v1alpha1.schedule import Schedule
from mlpools_operator.api.v1alpha1.sources import DataSource
from mlpools_operator.api.v1alpha1.volumes import VolumeMount

#: What may still change once the first attempt has begun; the rest of the spec describes what runs.
MUTABLE_WHILE_RUNNING = (
    "suspend",
    "cancel",
    "priority",
    "max_restarts",
    "restart_backoff_seconds",
    "active_deadline_seconds",
    "start_timeout_seconds",
    "ttl_seconds_after_finished",
    "hang_timeout_seconds",
    "termination_grace_period_seconds",
)


class OutputSpec(Model):
    """Where the results and the logs go."""

    url: StorageURL
    """Folder for the results, on a volume of spec.volumeMounts. It is made if it is not there."""
    mode: Literal["Error", "Overwrite", "Resume"] = "Error"
    """If the folder holds another run's result. Error: fail before any data is read. Overwrite: replace it.
    Resume: continue from its checkpoint, provided that data, features and parameters are equal."""


class JobSecurity(Model):
    """As whom the pods run; never as root."""

    run_as_user: User = 1000
    """User as whom they run, and to whom new files belong."""
    fs_group: Annotated[User | None, Extension({"nullable": True})] = 1000
    """Group to which the files of volumes are given. null: the platform's own choice."""


class JobSpec(PodsSpec):
    """What all jobs say, whatever they do."""

    compute_pool: Annotated[
        ObjectName,
        Rule("self == oldSelf", "computePool cannot be changed: make a new object for the other pool."),
    ]
    """Name of the ComputePool whose nodes it takes. The job waits while there is no such pool."""
    nodes: Annotated[int, Field(ge=1, le=4096)] = 1
    """Nodes that it takes, all or none; one pod each."""
    workers_per_node: Annotated[int, Field(ge=1, le=64)] | None = None
    """Worker processes in each pod, which share its CPUs and memory. Absent: with xgboost, pytorch and
    torchrun one for each GPU of a node; else one."""
    output: OutputSpec
    """Where the results and the logs go."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    """Place in the pool's queue: higher is served earlier, equal ones by age."""
    suspend: bool = False
    """Whether it rests: while it waits it leaves the queue, while it runs it saves how far it is and gives
    its nodes back. Set to false it queues again with its age, and goes on from there."""
    cancel: bool = False
    """Whether it ends for good. It saves how far it is and gives its nodes back; the object stays."""
    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    """Restarts after failures that a new attempt can cure. A lost machine does not count."""
    restart_backoff_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    """Seconds before the first restart; doubled at each further one, at most 300."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=315_360_000)] | None = None
    """Seconds for which it may hold nodes, over all attempts; then it fails. Waiting does not count. Absent:
    no limit."""
    start_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 720
    """Seconds from the moment all pods have a machine to that when all containers run; then the attempt ends,
    and counts as a restart."""
    hang_timeout_seconds: Annotated[int, Field(ge=0, le=604_800)] = 1800
    """Seconds without progress after which a node counts as hung and the attempt ends. 0: never."""
    termination_grace_period_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Seconds that a pod has to save how far it is when it is stopped."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=315_360_000)] | None = None
    """Seconds after its end at which it is deleted with everything that belongs to it. What a GitOps tool
    tracks stays, without its pods, for it would be made again. Absent: it stays."""
    security_context: JobSecurity = JobSecurity()
    """As whom the pods run, where the files of a volume belong to another user than that of the images."""
    schedule: Schedule | None = None
    """Makes this a template: it never runs itself, but makes an object like itself at each of these times.
    {date} and {time} in URLs become the time of the run, and each run has a folder of its own under the URLs
    that it writes to."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *PodsSpec.rules,
        Rule(
            "!has(self.schedule) || !has(self.cancel) || !self.cancel",
            "cancel ends a run for good. A schedule is stopped by suspend, or by deleting it with its runs.",
            lambda spec: spec.schedule is None or not spec.cancel,
            ".cancel",
        ),
    )

    @property
    def framework(self) -> str:
        """What runs, as pods know it, such as ``xgboost``."""
        raise NotImplementedError

    @property
    def sources(self) -> Mapping[str, DataSource]:
        """The data that it reads, by the names under which pods know them."""
        raise NotImplementedError

    @property
    def code(self) -> CodeSpec | None:
        """The code that it brings, if it runs any and the image does not have it."""
        return None


def stays(field: str, name: str) -> Rule:
    """Return the rule that a place outlives the pods, as it would not in a container's own file system."""

    def holds(spec: JobSpec) -> bool:
        url = getattr(getattr(spec, field), "url", None)
        return url is None or is_in_a_store(url) or _is_on_writable_mount(url, spec.volume_mounts)

    path = f"(self.{field}.url.replace('file://', '') + '/')"
    mount = "!(has(m.readOnly) && m.readOnly)"
    return Rule(
        f"!has(self.{field}) || !has(self.{field}.url) || self.{field}.url.matches('{IN_A_STORE}') || "
        "has(self.volumeMounts) && "
        f"self.volumeMounts.exists(m, {mount} && {path}.startsWith(m.mountPath + '/'))",
        f"{field}.url must lie on a writable volume or in an object store: add the volume to spec.volumes "
        f"and spec.volumeMounts, or {name} would be gone with the pod.",
        holds,
        f".{field}.url",
    )


def _is_on_writable_mount(place: str, mounts: tuple[VolumeMount, ...]) -> bool:
    path = place.removeprefix("file://") + "/"
    return any(path.startswith(mount.mount_path + "/") and not mount.read_only for mount in mounts)


def changes(kind: str, spec: type[JobSpec]) -> tuple[Rule, ...]:
    """Return the rules about changes that depend on how far the job is.

    They hold for status writes by themselves, since those leave the spec as it is.
    """
    fixed = [camel(name) for name in spec.model_fields if name not in MUTABLE_WHILE_RUNNING]
    unchanged = " && ".join(
        f"has(self.spec.{name}) == has(oldSelf.spec.{name}) && "
        f"(!has(self.spec.{name}) || self.spec.{name} == oldSelf.spec.{name})"
        for name in fixed
    )
    mutable = ", ".join(camel(name) for name in MUTABLE_WHILE_RUNNING)
    return (
        Rule(
            "!has(oldSelf.status) || !has(oldSelf.status.attempt) || oldSelf.status.attempt == 0 || "
            f"({unchanged})",
            f"The job has started, so of its spec only {mutable} may change: make a new {kind} "
            "for the rest, or delete this one first.",
            path=".spec",
        ),
        Rule(
            "!has(oldSelf.status) || !has(oldSelf.status.conditions) || "
            "!oldSelf.status.conditions.exists(c, c.type in ['Complete', 'Failed'] && c.status == 'True') || "
            "self.spec == oldSelf.spec",
            f"The job has ended, so its spec cannot change: make a new {kind} for a new run.",
            path=".spec",
        ),
    )
