"""The contract between the operator and a job's pods, and between the parts inside a pod.

Three documents cross the border, each one JSON object with camelCase keys:

* ``Task``: operator -> pod, in the environment variable ``MLPOOLS_TASK``. The same for every
  rank; a pod's rank comes from ``JOB_COMPLETION_INDEX``.
* ``Report``: pod -> operator, served by every supervisor at ``GET :8470/status``. Rank 0 speaks
  for the job.
* ``Final``: pod -> operator, the container's termination message. Never above ``FINAL_MAX_BYTES``.

A notebook's pod is told a ``Notebook`` instead, and serves an ``Activity``.

A fourth one stays inside the pod: a worker writes a ``Note`` a line to its supervisor.

Both programs import this module (beside it only ``document`` and ``refusals``), and the supervisor runs it
inside images that are not ours: it uses the standard library only and works on Python 3.9. A reader ignores
keys that it does not know and a writer never renames one, so an operator and a pod of neighbouring releases
understand each other.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from mlpools.document import Document

VERSION = 1

TASK_ENV = "MLPOOLS_TASK"
#: A ``Notebook`` document: there is no task where this is.
NOTEBOOK_ENV = "MLPOOLS_NOTEBOOK"
RANK_ENV = "JOB_COMPLETION_INDEX"
#: The address at which the other pods reach this one; on a machine's own network its name may mean another.
POD_IP_ENV = "MLPOOLS_POD_IP"
#: File descriptor on which a worker writes its ``Note`` lines for its supervisor.
REPORT_FD_ENV = "MLPOOLS_REPORT_FD"
#: Path of the named pipe on which a script reports its steps.
REPORT_PIPE_ENV = "MLPOOLS_REPORT_PIPE"
#: What a script finds: a local folder whose content becomes the model of the output, where the output and the
#: checkpoints lie, and which attempt it is of which job.
OUTPUT_ENV = "MLPOOLS_OUTPUT"
OUTPUT_URL_ENV = "MLPOOLS_OUTPUT_URL"
CHECKPOINT_URL_ENV = "MLPOOLS_CHECKPOINT_URL"
ATTEMPT_ENV = "MLPOOLS_ATTEMPT"
JOB_ENV = "MLPOOLS_JOB"
#: Where rank 0's supervisor answers, for workers and supervisors of the other ranks.
LEADER_PORT_ENV = "MLPOOLS_LEADER_PORT"
#: The worker's place among those of its machine: node rank, local rank, local world size. Only launchers that
#: start a supervisor for each of a machine's workers set it.
NEIGHBOURS_ENV = "MLPOOLS_NEIGHBOURS"
#: How many supervisors share the memory of their machine. Only launchers outside Kubernetes set it.
SHARED_BY_ENV = "MLPOOLS_SHARED_BY"
#: File descriptor of a pipe whose other end the program that started a supervisor holds: when that closes it
#: or dies, the supervisor ends. Only launchers outside Kubernetes set it.
LIFELINE_FD_ENV = "MLPOOLS_LIFELINE_FD"
#: Where a supervisor answers, the framework's rendezvous listens and the last words go; set where several
#: share a machine.
STATUS_PORT_ENV = "MLPOOLS_STATUS_PORT"
COORDINATOR_PORT_ENV = "MLPOOLS_COORDINATOR_PORT"
TERMINATION_LOG_ENV = "MLPOOLS_TERMINATION_LOG"
#: Folder of the packages that a job asks for; tests set another than ``PACKAGES_FOLDER``.
PACKAGES_ENV = "MLPOOLS_PACKAGES"
#: Folder of a job's own code; tests set another than ``CODE_FOLDER``.
CODE_ENV = "MLPOOLS_CODE"
#: Folder of a pod, made by who needs it: what libraries write there when they fail is kept beside the logs.
DUMPS_ENV = "MLPOOLS_DUMPS"

#: Where every supervisor serves ``GET /status``; the only port the operator asks for.
STATUS_PORT = 8470
#: Where rank 0 listens for the framework's rendezvous (XGBoost's tracker, torch's store).
COORDINATOR_PORT = 29500
#: Where the dashboard of a job's Ray cluster is, on rank 0's pod; tests set another.
DASHBOARD_PORT = 8265
DASHBOARD_PORT_ENV = "MLPOOLS_DASHBOARD_PORT"

#: Where packages are installed: on the pod's scratch volume, since the root file system is read-only.
PACKAGES_FOLDER = "/scratch/mlpools-packages"
#: In there: what the workers import, and what rank 0 resolved for all ranks.
PACKAGES_LIBRARY = "lib"
PACKAGES_LOCK = "lock.json"
#: Where the pod finds the pool's Secrets for the index and the job's requirements, each if it is there:
#: ``username``, ``password``, ``ca.crt``, ``requirements.txt``.
PACKAGES_MOUNT = "/etc/mlpools/packages"

#: Where a job's own code is laid down, and in there: the code itself, and what rank 0 found for all ranks.
CODE_FOLDER = "/scratch/mlpools-code"
CODE_TREE = "tree"
CODE_LOCK = "lock.json"
#: Where the pod finds the ConfigMap with the code, or the Secret of its Git repository: ``username``,
#: ``password``, ``ca.crt``.
CODE_MOUNT = "/etc/mlpools/code"
#: Another folder with it, where there are no mounts.
CODE_MOUNT_ENV = "MLPOOLS_CODE_MOUNT"

#: Where a pod with an image of the job's own finds mlpools: as one file, and the script that starts it.
INJECTED_FOLDER = "/mlpools"
INJECTED_ZIP = "mlpools.pyz"
INJECTED_START = "start"
#: Path of that file, if the supervisor runs from it.
INJECTED_ENV = "MLPOOLS_INJECTED"

#: Where a pod keeps data that it reads more than once, and how many bytes of it its pool allows.
CACHE_ENV = "MLPOOLS_CACHE"
CACHE_BYTES_ENV = "MLPOOLS_CACHE_BYTES"
CACHE_MOUNT = "/cache"
#: The container's limit of local disk in bytes; without a limit what the machine has of it.
EPHEMERAL_BYTES_ENV = "MLPOOLS_EPHEMERAL_BYTES"
#: Where the pod finds the Secrets of its SQL sources: a folder for each data set by its name.
CONNECTIONS_MOUNT = "/etc/mlpools/connections"
#: Another folder with them, where there are no mounts.
CONNECTIONS_ENV = "MLPOOLS_CONNECTIONS"
#: URL of the folder where a job lays down the rows of SQL queries for all its ranks and attempts.
STAGE_ENV = "MLPOOLS_STAGE"

#: Where a notebook keeps its files, and where it finds the token that opens it.
WORKSPACE = "/workspace"
TOKEN_MOUNT = "/etc/mlpools/token"  # noqa: S105 - a path
TOKEN_FILE = "token"  # noqa: S105 - a name
#: Folder in it with the packages that were installed in the notebook, for the image as it is.
NOTEBOOK_LIBRARY_ENV = "MLPOOLS_NOTEBOOK_LIBRARY"
#: Other places for them, where there are no mounts.
WORKSPACE_ENV = "MLPOOLS_WORKSPACE"
TOKEN_ENV = "MLPOOLS_TOKEN_FOLDER"  # noqa: S105 - a variable's name

#: Where the kubelet reads the termination message; it keeps 4,096 bytes of it.
TERMINATION_LOG = "/dev/termination-log"
FINAL_MAX_BYTES = 4_000


class Exit(enum.IntEnum):
    """Exit codes of a supervisor. They avoid 1, 2 and 125 and up, which shells and signals use."""

    DONE = 0
    USER_CODE = 10
    INVALID_SPEC = 11
    OUTPUT_EXISTS = 12
    DATA_NOT_READABLE = 13
    BAD_HYPER_PARAMETER = 14
    PACKAGE_NOT_ALLOWED = 15
    CHECKPOINT_MISMATCH = 16
    SECRET_MISSING = 17
    FABRIC_TOO_SLOW = 18
    OUTPUT_NOT_WRITABLE = 19
    HUNG = 20
    PREEMPTED = 21
    PEER_LOST = 22
    #: The worker was killed by a signal that nobody here sent (segmentation fault, kernel).
    SIGNAL = 23
    #: A fault of mlpools itself.
    INTERNAL = 24
    #: No such package or version, or not together with the others.
    PACKAGES_NOT_RESOLVED = 25
    PACKAGE_INDEX_UNAVAILABLE = 26
    #: The job's own code: not there, not what it should be, or not what it is said to hold.
    CODE_NOT_READABLE = 27
    #: Where the code lies does not answer.
    CODE_UNAVAILABLE = 28
    #: Part of a job did not come up in time, such as a node of its Ray cluster.
    START_TIMEOUT = 29
    #: Rows that by their number alone do not fit; one that was killed for memory has no code of its own.
    OUT_OF_MEMORY = 30
    #: Another program listens where a rank has to.
    PORT_TAKEN = 31
    #: A model that cannot be loaded, is of another framework than was said, or may not be loaded.
    MODEL_UNREADABLE = 32
    #: A model and data that do not belong together, which shows before the first row.
    MODEL_MISMATCH = 33
    #: More shards of a batch inference failed than it allows; all others are committed.
    SHARDS_FAILED = 34


#: What users read in ``status`` for each exit code; the retry rule of a reason is the operator's.
REASONS: Mapping[int, str] = {
    Exit.USER_CODE: "UserCodeError",
    Exit.INVALID_SPEC: "InvalidSpec",
    Exit.OUTPUT_EXISTS: "OutputExists",
    Exit.DATA_NOT_READABLE: "DataNotReadable",
    Exit.BAD_HYPER_PARAMETER: "BadHyperParameter",
    Exit.PACKAGE_NOT_ALLOWED: "PackageNotAllowed",
    Exit.CHECKPOINT_MISMATCH: "CheckpointMismatch",
    Exit.SECRET_MISSING: "SecretMissing",
    Exit.FABRIC_TOO_SLOW: "FabricTooSlow",
    Exit.OUTPUT_NOT_WRITABLE: "OutputNotWritable",
    Exit.HUNG: "Hung",
    Exit.PREEMPTED: "Preempted",
    Exit.PEER_LOST: "PeerLost",
    Exit.SIGNAL: "WorkerCrashed",
    Exit.INTERNAL: "InternalError",
    Exit.PACKAGES_NOT_RESOLVED: "PackagesNotResolved",
    Exit.PACKAGE_INDEX_UNAVAILABLE: "PackageIndexUnavailable",
    Exit.CODE_NOT_READABLE: "CodeNotReadable",
    Exit.CODE_UNAVAILABLE: "CodeUnavailable",
    Exit.START_TIMEOUT: "StartTimeout",
    Exit.OUT_OF_MEMORY: "OutOfMemory",
    Exit.PORT_TAKEN: "PortTaken",
    Exit.MODEL_UNREADABLE: "ModelUnreadable",
    Exit.MODEL_MISMATCH: "ModelMismatch",
    Exit.SHARDS_FAILED: "ShardsFailed",
}

#: ``Task.framework`` of a BatchInference. Its pods are no gang: they come and go, and only rank 0's end is
#: the end of the attempt.
INFERENCE = "inference"


@dataclasses.dataclass(frozen=True)
class Task(Document):
    """What one attempt has to do; the same document for every rank.

    Attributes:
        namespace: of the job object.
        name: of the job object.
        uid: of the job object; checkpoints and results carry it.
        attempt: counts from 1.
        nodes: number of pods of the gang.
        workers_per_node: workers started by each supervisor; ``world = nodes * workers_per_node``.
        gpus_per_node: GPUs of each pod, 0 = none.
        coordinator: resolvable name of rank 0's pod.
        framework: one of ``runtime.frameworks``.
        spec: that section of the job's spec, as the user wrote it (camelCase, defaults filled in). Of a batch
            inference ``{model, features?, partitionBy?, batchRows?, shardRows?, maxShardFailures, onError}``.
        data: name -> source, as in the job's spec. Of a batch inference ``{input: source}``.
        output: ``{url, mode}`` as in the job's spec; ``curve: false`` of a caller who wants no picture. Of a
            batch inference also ``{format, keep, predictionColumn, maxRowsPerFile?}``.
        checkpoint: ``{url, everyRounds | everySeconds, keep}``, ``url`` always set. A batch inference has
            none: it is empty.
        hang_timeout_seconds: without a step for so long the rank is hung; 0 = never.
        grace_period_seconds: between SIGTERM and SIGKILL.
        required: Secrets and ConfigMaps that have to be mounted, each ``{kind, name, path, files}``.
        packages: a ``Packages`` as plain JSON; empty if the job installs none.
        code: a ``Code`` as plain JSON; empty if the job brings none.
        fabric: a ``Fabric`` as plain JSON; empty if the network is not measured before the work.
    """

    namespace: str
    name: str
    uid: str
    attempt: int
    nodes: int
    coordinator: str
    framework: str
    spec: dict[str, Any]
    data: dict[str, Any]
    output: dict[str, Any]
    checkpoint: dict[str, Any]
    workers_per_node: int = 1
    gpus_per_node: int = 0
    hang_timeout_seconds: int = 1800
    grace_period_seconds: int = 60
    required: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    packages: dict[str, Any] = dataclasses.field(default_factory=dict)
    code: dict[str, Any] = dataclasses.field(default_factory=dict)
    fabric: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: int = VERSION

    @property
    def world_size(self) -> int:
        """Number of workers over all pods."""
        return self.nodes * self.workers_per_node


@dataclasses.dataclass(frozen=True)
class Packages(Document):
    """What a job installs into its pods before it starts, and its pool's rules for that.

    Attributes:
        wanted: requirements of the job, such as ``polars==1.2``.
        requirements: words for the ConfigMap with more of them; empty if there is none.
        index_url: of the index; empty: the public one.
        extra_index_urls: further indexes.
        credentials_secret: name of the Secret for the index; empty if there is none.
        ca_secret: name of the Secret with the authorities to trust; empty if there is none.
        allow: patterns of names that may be installed.
        block: patterns of names that may not, whatever ``allow`` says.
        cached: whether the pool's cache is a volume, so that wheels in it serve other pods, too.
    """

    wanted: Sequence[str] = ()
    requirements: str = ""
    index_url: str = ""
    extra_index_urls: Sequence[str] = ()
    credentials_secret: str = ""
    ca_secret: str = ""
    allow: Sequence[str] = ("*",)
    block: Sequence[str] = ()
    cached: bool = False


@dataclasses.dataclass(frozen=True)
class Code(Document):
    """Where a job's own code comes from: exactly one of ``config_map``, ``url`` and ``git_url`` is not empty.

    Attributes:
        config_map: name of the ConfigMap whose keys are the files.
        url: of an archive: tar, zip or wheel.
        sha256: of the archive.
        git_url: of a Git repository.
        revision: its branch, tag or commit.
        secret: name of the Secret for the repository; empty if there is none.
    """

    config_map: str = ""
    url: str = ""
    sha256: str = ""
    git_url: str = ""
    revision: str = ""
    secret: str = ""


@dataclasses.dataclass(frozen=True)
class Fabric(Document):
    """The network that a pool wants between the ranks of an attempt.

    Attributes:
        minimum: GB/s of bus bandwidth, as nccl-tests defines it; 0: that every link works is enough.
        timeout_seconds: for measuring it, once all ranks are there.
        gpus: of a node; with some it is measured through NCCL.
    """

    minimum: float = 0.0
    timeout_seconds: int = 120
    gpus: int = 0


@dataclasses.dataclass(frozen=True)
class Notebook(Document):
    """What the supervisor of a notebook is told.

    Attributes:
        attempt: how often the notebook was started.
        command: program that serves it, with its arguments; empty: JupyterLab.
        args: of JupyterLab, without a command.
        port: where it serves.
        cpu_percent: of one core, from which on its processes count as used.
        gpu_percent: load of a GPU, from which on it counts as used.
        packages: what is installed before it starts, and by whose rules people install more: a ``Packages``
            document.
        required: what has to be mounted, as a task's.
        git: a repository that is cloned into the workspace once, a ``Code`` document; empty if none is.
        beside: it runs in a container beside the program, which the image starts by itself.
        gpus: of the program's container, told to who runs beside it.
        cluster: whether it is the head of a Ray cluster.
        head: name of the head's pod, if this pod is a further node of its cluster; empty: it is the notebook.
    """

    namespace: str
    name: str
    uid: str
    attempt: int
    port: int
    cpu_percent: int
    gpu_percent: int
    command: Sequence[str] = dataclasses.field(default_factory=list)
    args: Sequence[str] = dataclasses.field(default_factory=list)
    packages: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    required: Sequence[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    git: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    beside: bool = False
    gpus: int = 0
    cluster: bool = False
    head: str = ""


@dataclasses.dataclass(frozen=True)
class Activity(Document):
    """How far a notebook is used, served by its supervisor at ``GET :8470/status``.

    Spans of time instead of moments: the clocks of two machines need not agree.

    Attributes:
        attempt: as told.
        serving: its program takes connections.
        unused_seconds: since it was used last, by a person or by what runs in it.
        untouched_seconds: since a person did something.
        used_by: what used it last, in a few words, such as ``a busy kernel``.
        trouble: what is in its way now or soon, such as a disk that is nearly full; empty if nothing is.
        gpu_unseen: it has GPUs, and nobody can see here whether they work.
        dashboard: URL of its Ray cluster's dashboard, from inside; empty if there is none.
    """

    attempt: int
    serving: bool
    unused_seconds: float
    untouched_seconds: float
    used_by: str = ""
    trouble: str = ""
    gpu_unseen: bool = False
    dashboard: str = ""


class Phase(str, enum.Enum):
    """Where a pod is, in the order in which it gets there."""

    STARTING = "Starting"
    CODE = "Code"
    PACKAGES = "Packages"
    FABRIC = "Fabric"
    DATA = "Data"
    RENDEZVOUS = "Rendezvous"
    WORKING = "Working"
    FINISHING = "Finishing"
    ENDED = "Ended"


@dataclasses.dataclass(frozen=True)
class Report(Document):
    """How far a pod is; a worker's lines update it, and its supervisor serves it.

    Attributes:
        phase: one of ``Phase``.
        rank: node rank of the pod.
        attempt: of the task.
        step: finished boosting rounds, optimizer steps, …; it never falls within an attempt.
        total_steps: 0 = unknown.
        rows_per_second: rows of training data passed over, all ranks together.
        eta_seconds: to the end, as far as one can say.
        metrics: latest values, such as ``{"eval-rmse": 17.9}``.
        checkpoint_step: newest committed checkpoint, 0 = none.
        seconds: how long each finished phase took, such as ``{"Data": 1.2}``.
        age_seconds: since the last line of a worker. A span, since clocks of pods differ.
        memory_bytes: in use by the processes of the rank that uses most, as far as this pod knows of others.
        memory_rank: that rank.
        slow_times: how many times as long as the others ``slow_rank`` takes for its own part of a step, so
            that they wait for it; 0 = none holds up the others.
        slow_rank: that rank.
        message: one sentence about what it is doing now, where that helps.
        dashboard: URL of the Ray cluster's dashboard, as the pods know it; empty if there is none.
        fabric: a sentence about the network between the ranks, if it was measured and is good enough.
        shards: of a batch inference: ``{total, done, failed}``.
        rows: of a batch inference: ``{total, done, failed}``.
        weak_commit: a sentence if the output's place cannot make a file only once.
    """

    phase: str
    rank: int = 0
    attempt: int = 1
    step: int = 0
    total_steps: int = 0
    rows_per_second: float = 0.0
    eta_seconds: float | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    checkpoint_step: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    age_seconds: float = 0.0
    memory_bytes: int = 0
    memory_rank: int = 0
    slow_times: float = 0.0
    slow_rank: int = 0
    message: str = ""
    dashboard: str = ""
    fabric: str = ""
    shards: dict[str, int] = dataclasses.field(default_factory=dict)
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    weak_commit: str = ""


@dataclasses.dataclass(frozen=True)
class Final(Document):
    """How a pod ended.

    Attributes:
        code: the exit code, one of ``Exit``.
        rank: node rank of the pod.
        attempt: of the task.
        message: one sentence for a person; empty on success.
        traceback: of the user's code, for the log reader; the first thing cut when space is short.
        step: last finished step.
        metrics: of the finished model, such as ``{"eval-rmse": 17.9, "train-rmse": 16.1}``.
        outputs: ``modelURL``, ``metricsURL``, ``resultURL``, ``logsURL``, ``checkpointURL``; of a batch
            inference ``outputURL``, ``manifestURL``, ``logsURL``, and ``errorsURL`` if rows failed.
        checkpoint_step: newest committed checkpoint, 0 = none.
        seconds: how long each phase took.
        shards: as in ``Report``; also where the attempt failed.
        rows: as in ``Report``.
        partial: a sentence about what the output of a batch inference lacks; empty if it has all rows.
    """

    code: int
    rank: int
    attempt: int = 1
    message: str = ""
    traceback: str = ""
    step: int = 0
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    outputs: dict[str, str] = dataclasses.field(default_factory=dict)
    checkpoint_step: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    shards: dict[str, int] = dataclasses.field(default_factory=dict)
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    partial: str = ""

    def encode(self, limit: int = FINAL_MAX_BYTES) -> bytes:
        """Return the UTF-8 JSON, cut to ``limit`` bytes: first the traceback, then metrics, then the message.

        The end of a traceback names the error, so its beginning goes first. What is left after all
        three cuts (the codes and the URLs of the outputs) is kept while it fits, else the URLs go too.
        """
        cut = _shorten(self, "traceback", limit, keep_end=True)
        if cut._size() > limit:
            cut = dataclasses.replace(cut, metrics={}, seconds={})
        cut = _shorten(cut, "message", limit, keep_end=False)
        if cut._size() > limit:
            cut = dataclasses.replace(cut, outputs={})
        return cut.to_json().encode()

    def _size(self) -> int:
        return len(self.to_json().encode())


@dataclasses.dataclass(frozen=True)
class Note(Document):
    """One line of a worker to its supervisor: what changed since the last one.

    A worker writes a note only when it got further, so each of them proves that it is not hung.

    Attributes:
        own_seconds: how long the worker itself works on a step; the wait for other ranks is left out.
        final: a ``Final`` as plain JSON: the worker's own account of how it ended, its last note.
        cluster: a ``ClusterNote`` as plain JSON, of the head of a notebook's Ray cluster.

    The other fields are those of ``Report``; absent means unchanged.
    """

    phase: str | None = None
    step: int | None = None
    total_steps: int | None = None
    rows_per_second: float | None = None
    eta_seconds: float | None = None
    metrics: dict[str, float] | None = None
    checkpoint_step: int | None = None
    message: str | None = None
    dashboard: str | None = None
    fabric: str | None = None
    own_seconds: float | None = None
    shards: dict[str, int] | None = None
    rows: dict[str, int] | None = None
    weak_commit: str | None = None
    final: dict[str, Any] | None = None
    cluster: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class ClusterNote(Document):
    """What the head of a notebook's Ray cluster sees, told every few seconds.

    Attributes:
        nodes: addresses of the nodes that have joined, the head's too.
        busy: a task or a submitted job runs.
    """

    nodes: list[str] = dataclasses.field(default_factory=list)
    busy: bool = False


def log_name(attempt: int, rank: int) -> str:
    """Return where a rank's log lies under the output's URL."""
    return dump_name(attempt, f"rank-{rank}.log")


def dump_name(attempt: int, name: str) -> str:
    """Return where a file that a library wrote when it failed lies under the output's URL."""
    return f"logs/attempt-{attempt}/{name}"


def _shorten(final: Final, field: str, limit: int, *, keep_end: bool) -> Final:
    """Cut one text field to the longest part with which the document fits, or to nothing."""
    text: str = getattr(final, field)
    if final._size() <= limit:
        return final
    low, high = 0, len(text)
    while low < high:  # JSON escapes make the size of a text unpredictable, its order not
        middle = (low + high + 1) // 2
        part = text[len(text) - middle :] if keep_end else text[:middle]
        if dataclasses.replace(final, **{field: part})._size() <= limit:  # type: ignore[arg-type]
            low = middle
        else:
            high = middle - 1
    part = text[len(text) - low :] if keep_end else text[:low]
    return dataclasses.replace(final, **{field: part})  # type: ignore[arg-type]
