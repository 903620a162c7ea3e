"""What the operator tells a pod: a ``Task``, or a ``Notebook``, and the parts of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mlpools.document import Document

VERSION = 1

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
