"""TrainingJob: one model trained over a gang of nodes of a pool."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.api.v1alpha1.common import (
    ENTRY_NAME,
    IN_A_STORE,
    Image,
    KeyName,
    ObjectName,
    StorageURL,
    is_entry_name,
    is_in_a_store,
)
from mlpools_operator.api.v1alpha1.env import EnvFromSource, EnvVar
from mlpools_operator.api.v1alpha1.lightgbm import LightGBMSpec
from mlpools_operator.api.v1alpha1.meta import (
    LIST_SET,
    Column,
    Kind,
    Model,
    Rule,
    at_most_one,
    camel,
    exactly_one,
    list_map,
)
from mlpools_operator.api.v1alpha1.pytorch import PyTorchSpec
from mlpools_operator.api.v1alpha1.schedule import Schedule
from mlpools_operator.api.v1alpha1.script import ScriptSpec
from mlpools_operator.api.v1alpha1.sources import DataSource
from mlpools_operator.api.v1alpha1.trainingjob_status import TrainingJobStatus
from mlpools_operator.api.v1alpha1.volumes import Volume, VolumeMount
from mlpools_operator.api.v1alpha1.xgboost import XGBoostSpec

#: Fields of the spec of which exactly one says what runs.
FRAMEWORKS = ("xgboost", "lightgbm", "pytorch", "script")
#: Those that cannot do without rows to learn from.
_TREES = ("xgboost", "lightgbm")
#: Seconds between checkpoints when the user names no interval.
CHECKPOINT_SECONDS = 300


class OutputSpec(Model):
    """Where the model, its metrics and the logs go."""

    url: StorageURL
    """Folder for the results, on a volume of spec.volumeMounts. It is made if it is not there."""
    mode: Literal["Error", "Overwrite", "Resume"] = "Error"
    """If the folder holds another run's result. Error: fail before any data is read. Overwrite: replace it.
    Resume: continue from its checkpoint, provided that data, features and parameters are equal."""


class CheckpointSpec(Model):
    """When the unfinished model is saved, so that a restart continues from there."""

    url: StorageURL | None = None
    """Folder for checkpoints, on a volume of spec.volumeMounts. Absent: checkpoints/ under output.url."""
    every_rounds: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Boosting rounds between checkpoints. Either this or everySeconds."""
    every_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    """Seconds between checkpoints; 300 if neither this nor everyRounds is given."""
    keep: Annotated[int, Field(ge=1, le=100)] = 2
    """Checkpoints kept; older ones are deleted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        at_most_one(("every_rounds", "every_seconds"), "Give either everyRounds or everySeconds."),
    )

    # Not a schema default: it would stay in the object when the user later adds everyRounds.
    @model_validator(mode="before")
    @classmethod
    def _default_interval(cls, given: Any) -> Any:
        names = ("everyRounds", "everySeconds", "every_rounds", "every_seconds")
        if isinstance(given, dict) and all(given.get(name) is None for name in names):
            return {**given, "everySeconds": CHECKPOINT_SECONDS}
        return given


# A version for each name, so that every attempt installs the same.
_PinnedPackage = Annotated[
    str,
    StringConstraints(
        max_length=256,
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._,-]+\])?==[A-Za-z0-9.!+_-]+$",
    ),
]


class RequirementsFile(Model):
    """A key of a ConfigMap in the job's namespace that holds a requirements file."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: KeyName
    """Key inside it."""


class JobRuntime(Model):
    """What the job runs in: its image, and packages beside those of the image."""

    image: Image | None = None
    """Its image. It need not know mlpools, which is put beside it; it takes Python 3.9 or newer, and what the
    job imports. Absent: the pool's."""
    packages: Annotated[tuple[_PinnedPackage, ...], Field(max_length=128), LIST_SET] = ()
    """Python packages that every pod installs before the job starts, such as polars==1.2, from the pool's
    index and by the pool's policy (spec.packages there). What the image has stays as it is."""
    requirements: RequirementsFile | None = None
    """More of them, in the format of pip: names with versions, and checksums if all have them."""


def _is_on_writable_mount(place: str, mounts: tuple[VolumeMount, ...]) -> bool:
    path = place.removeprefix("file://") + "/"
    return any(path.startswith(mount.mount_path + "/") and not mount.read_only for mount in mounts)


def _stays(field: str, name: str) -> Rule:
    """Return the rule that a place outlives the pods, as it would not in a container's own file system."""

    def holds(spec: TrainingJobSpec) -> bool:
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


def _needs_held_out_rows(name: str) -> Rule:
    """Return the rule that a model which stops early has rows to stop by."""

    def holds(spec: TrainingJobSpec) -> bool:
        patience = getattr(getattr(spec, name), "early_stopping_rounds", None)
        return patience is None or "eval" in spec.data

    return Rule(
        f"!has(self.{name}) || !has(self.{name}.earlyStoppingRounds) || "
        "has(self.data) && 'eval' in self.data",
        f"{name}.earlyStoppingRounds needs held-out rows: add an entry named eval to data.",
        holds,
        f".{name}.earlyStoppingRounds",
    )


class TrainingJobSpec(Model):
    """What to train, on what, with which data."""

    compute_pool: Annotated[
        ObjectName,
        Rule("self == oldSelf", "computePool cannot be changed: make a new TrainingJob for the other pool."),
    ]
    """Name of the ComputePool whose nodes it takes. The job waits while there is no such pool."""
    nodes: Annotated[int, Field(ge=1, le=4096)] = 1
    """Nodes that it takes, all or none; one pod each."""
    workers_per_node: Annotated[int, Field(ge=1, le=64)] | None = None
    """Worker processes in each pod, which share its CPUs and memory. Absent: with xgboost and pytorch one for
    each GPU of a node; else one."""
    xgboost: XGBoostSpec | None = None
    """Train a boosted-trees model with XGBoost over all nodes."""
    lightgbm: LightGBMSpec | None = None
    """Train a boosted-trees model with LightGBM over all nodes."""
    pytorch: PyTorchSpec | None = None
    """Run a PyTorch program over all nodes."""
    script: ScriptSpec | None = None
    """Run a program of whatever kind over all nodes."""
    data: Annotated[
        dict[str, DataSource],
        Field(max_length=16),
        Rule(
            f"self.all(name, name.size() <= 63 && name.matches('{ENTRY_NAME}'))",
            "Names in data are at most 63 lower-case letters, digits and -, such as eval or eval-2013.",
            lambda data: all(is_entry_name(name) for name in data),
        ),
    ] = Field(default_factory=dict)
    """Data by name. Boosted trees need train, the rows to learn from. Every other entry, such as eval, is
    held out: the model is measured on it after each round, and never learns from it.
    A PyTorch program finds each entry in get_context().get_dataset_map()."""
    output: OutputSpec
    """Where the model, its metrics and the logs go."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """When the unfinished model is saved, so that a restart continues from there."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    """Place in the pool's queue: higher is served earlier, equal ones by age."""
    suspend: bool = False
    """Whether it rests: while it waits it leaves the queue, while it runs it saves a checkpoint and gives its
    nodes back. Set to false it queues again with its age, and goes on from the checkpoint."""
    cancel: bool = False
    """Whether it ends for good. It saves a checkpoint and gives its nodes back; the object stays."""
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
    """Seconds that a pod has for its last checkpoint when it is stopped."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=315_360_000)] | None = None
    """Seconds after its end at which it is deleted with everything that belongs to it. What a GitOps tool
    tracks stays, without its pods, for it would be made again. Absent: it stays."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=128), list_map("name")] = ()
    """Environment variables of the job's processes."""
    env_from: Annotated[tuple[EnvFromSource, ...], Field(max_length=32)] = ()
    """ConfigMaps and Secrets whose keys become environment variables; env wins over them."""
    volumes: Annotated[tuple[Volume, ...], Field(max_length=32), list_map("name")] = ()
    """Volumes of every pod."""
    volume_mounts: Annotated[tuple[VolumeMount, ...], Field(max_length=32), list_map("mountPath")] = ()
    """Where the volumes appear in the container."""
    service_account_name: ObjectName | None = None
    """Service account of the pods, for access to storage. Its token for Kubernetes is not mounted."""
    runtime: JobRuntime = JobRuntime()
    """What the job runs in: its image, and packages beside those of the image."""
    schedule: Schedule | None = None
    """Makes this a template: it never runs itself, but makes a TrainingJob like itself at each of these
    times. {date} and {time} in URLs become the time of the run, and each run has a folder of its own under
    output.url and checkpoint.url."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(FRAMEWORKS, f"Say what to train: exactly one of {', '.join(FRAMEWORKS)}."),
        Rule(
            f"![{', '.join(f'has(self.{name})' for name in _TREES)}].exists(it, it) || has(self.data) && "
            "'train' in self.data",
            "data needs an entry named train: the rows to learn from.",
            lambda spec: "train" in spec.data or all(getattr(spec, name) is None for name in _TREES),
            ".data",
        ),
        *(_needs_held_out_rows(name) for name in _TREES),
        Rule(
            "!has(self.lightgbm) || !has(self.lightgbm.treeLearner) || "
            "self.lightgbm.treeLearner != 'feature' || self.nodes == 1",
            "treeLearner feature needs all rows on every node, while each node reads its own part: use data, "
            "or voting where features are very many.",
            lambda spec: not spec.lightgbm or spec.lightgbm.tree_learner != "feature" or spec.nodes == 1,
            ".lightgbm.treeLearner",
        ),
        Rule(
            "!has(self.volumeMounts) || "
            "self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
            "Each of volumeMounts must name one of volumes.",
            lambda spec: {mount.name for mount in spec.volume_mounts} <= {it.name for it in spec.volumes},
            ".volumeMounts",
        ),
        Rule(
            "!has(self.schedule) || !has(self.cancel) || !self.cancel",
            "cancel ends a run for good. A schedule is stopped by suspend, or by deleting it with its runs.",
            lambda spec: spec.schedule is None or not spec.cancel,
            ".cancel",
        ),
        _stays("output", "the model"),
        _stays("checkpoint", "checkpoints"),
    )

    @property
    def framework(self) -> str:
        """Name of the field that says what runs, such as ``xgboost``."""
        return next(name for name in FRAMEWORKS if getattr(self, name) is not None)

    @property
    def code(self) -> CodeSpec | None:
        """The code that the job brings, if its framework runs any and the image does not have it."""
        return getattr(getattr(self, self.framework), "code", None)


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


def _spec_rules() -> tuple[Rule, ...]:
    """Return the rules about changes that depend on how far the job is.

    They hold for status writes by themselves, since those leave the spec as it is.
    """
    fixed = [camel(name) for name in TrainingJobSpec.model_fields if name not in MUTABLE_WHILE_RUNNING]
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
            f"The job has started, so of its spec only {mutable} may change: make a new TrainingJob "
            "for the rest, or delete this one first.",
            path=".spec",
        ),
        Rule(
            "!has(oldSelf.status) || !has(oldSelf.status.conditions) || "
            "!oldSelf.status.conditions.exists(c, c.type in ['Complete', 'Failed'] && c.status == 'True') || "
            "self.spec == oldSelf.spec",
            "The job has ended, so its spec cannot change: make a new TrainingJob for a new run.",
            path=".spec",
        ),
    )


TRAINING_JOB = Kind(
    name="TrainingJob",
    plural="trainingjobs",
    scope="Namespaced",
    short_names=("tj",),
    spec=TrainingJobSpec,
    status=TrainingJobStatus,
    description="One model, trained over a gang of nodes of a ComputePool.",
    columns=(
        Column("Pool", ".spec.computePool"),
        Column("Phase", ".status.phase"),
        Column("Nodes", ".status.nodes.summary", description="Ready and requested."),
        Column("Progress", ".status.progress.summary", description="Percent, metric and seconds left."),
        Column("Reason", ".status.reason", description="Why it waits or failed."),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=_spec_rules(),
)
