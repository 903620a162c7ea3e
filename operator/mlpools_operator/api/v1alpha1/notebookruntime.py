"""NotebookRuntime: a notebook on one node of a pool, which stops when nobody uses it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from mlpools.contract.wiring import STATUS_PORT, TOKEN_MOUNT, WORKSPACE
from mlpools_operator.api.v1alpha1.code import GitCode, Revision
from mlpools_operator.api.v1alpha1.common import ObjectName
from mlpools_operator.api.v1alpha1.egress import Egress
from mlpools_operator.api.v1alpha1.meta import Column, Extension, Kind, Model, Rule, Scale
from mlpools_operator.api.v1alpha1.notebook_access import NotebookAccess
from mlpools_operator.api.v1alpha1.notebook_schedule import NotebookSchedule
from mlpools_operator.api.v1alpha1.notebookruntime_status import NotebookRuntimeStatus
from mlpools_operator.api.v1alpha1.pods import PodsSpec, User
from mlpools_operator.api.v1alpha1.quantity import BytesQuantity

#: Folders of every notebook that no volume of its own can lie over.
_TAKEN = [WORKSPACE, TOKEN_MOUNT]
_Word = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
_Percent = Annotated[int, Field(ge=1, le=100)]


class NotebookStorage(Model):
    """The volume at /workspace, which outlives every stop of the notebook."""

    size: Annotated[
        BytesQuantity,
        Rule(
            "quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0",
            "A volume can grow, not shrink: name a size of at least the present one.",
        ),
    ] = "10Gi"
    """Its size. It may be raised if the storage class lets volumes grow."""
    storage_class_name: ObjectName | None = None
    """Its storage class. Absent: the cluster's default one."""
    retain: bool = True
    """Whether the volume stays when the notebook is deleted; a new one of the same name finds it again."""
    run_as_user: User = 1000
    """User as whom the notebook runs, and to whom new files belong."""
    fs_group: Annotated[User | None, Extension({"nullable": True})] = 1000
    """Group to which the files of the volume are given. null: the platform's own choice."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.storageClassName) == has(oldSelf.storageClassName) && "
            "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            "A volume stays in its storage class: make a new notebook and copy the files there.",
            path=".storageClassName",
        ),
    )


class IdleRules(Model):
    """What counts as being used, beside a busy kernel, a terminal with a program, and work in the browser."""

    cpu_percent: _Percent = 5
    """CPU of the notebook's processes together, in percent of one core, from which on it is used."""
    gpu_percent: _Percent = 5
    """Load of a GPU, in percent, from which on it is used."""
    max_busy_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = 0
    """Seconds without any input by a person after which it stops even if something runs. 0: never."""


class NotebookCluster(Model):
    """A Ray cluster of further nodes of the pool, for the notebook alone."""

    nodes: Annotated[int, Field(ge=0, le=4096)] = 0
    """Nodes beside the notebook's own. `kubectl scale` sets this number."""
    max_nodes: Annotated[int, Field(ge=0, le=4096)] = 0
    """Most nodes that it may be scaled to, from inside too."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # The API server tries it on the schema's own default too, whose fields it has not filled in yet.
            "!has(self.nodes) || self.nodes <= (has(self.maxNodes) ? self.maxNodes : 0)",
            "nodes is above cluster.maxNodes, which is how many nodes this notebook may have beside its own: "
            "raise maxNodes first.",
            lambda cluster: cluster.nodes <= cluster.max_nodes,
            ".nodes",
        ),
    )


class NotebookGit(GitCode):
    """A Git repository that is cloned into the workspace, once."""

    revision: Revision
    """Branch, tag, or commit with all its 40 digits, at which the clone is."""


class NotebookRuntimeSpec(PodsSpec):
    """Where a notebook runs, what is in it, and when it stops."""

    compute_pool: Annotated[
        ObjectName,
        Rule("self == oldSelf", "computePool cannot be changed: make a new notebook for the other pool."),
    ]
    """Name of the ComputePool of which it takes one node. It waits while there is no such pool."""
    command: Annotated[tuple[_Word, ...], Field(max_length=128)] = ()
    """Program that serves the notebook. Absent: JupyterLab."""
    args: Annotated[tuple[_Word, ...], Field(max_length=128)] = ()
    """What the program, or JupyterLab, is told besides."""
    port: Annotated[
        int,
        Field(ge=1024, le=65_535),
        Rule(
            f"self != {STATUS_PORT}",
            f"{STATUS_PORT} is mlpools' own port: choose another one.",
            lambda port: port != STATUS_PORT,
        ),
    ] = 8888
    """Port at which the program serves."""
    storage: NotebookStorage = NotebookStorage()
    """The volume at /workspace, which outlives every stop of the notebook."""
    idle_seconds: Annotated[
        int,
        Field(ge=0, le=259_200),
        Rule(
            "self == 0 || self >= 60",
            "must be 0, which is never, or at least 60 seconds.",
            lambda seconds: seconds == 0 or seconds >= 60,
        ),
    ] = 3600
    """Seconds without use after which it stops and gives its node back. 0: never."""
    idle: IdleRules = IdleRules()
    """What counts as being used."""
    suspend: bool = False
    """Whether it rests, without a node. Set to false again it starts, even if it had stopped for idleness."""
    access: NotebookAccess = NotebookAccess()
    """Who gets in."""
    egress: Egress = ()
    """Where it may connect to, beside the pods of the cluster, its DNS, its API, the pool's package index and
    the host of git: full names with a port, or ranges of addresses. Everywhere: 0.0.0.0/0 and ::/0."""
    cluster: NotebookCluster = NotebookCluster()
    """A Ray cluster of further nodes of the pool, for the notebook alone."""
    git: NotebookGit | None = None
    """A Git repository that is cloned into the workspace before the first start, into a folder of its name.
    A folder that is there is left alone."""
    schedule: NotebookSchedule | None = None
    """Runs a document of the workspace at each of these times, as a TrainingJob on one node of the pool with
    the image, packages, variables and volumes of this notebook, also while it rests."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *PodsSpec.rules,
        Rule(
            "!has(self.runtime.image) || (has(self.command) && size(self.command) > 0) || "
            "((!has(self.runtime.packages) || size(self.runtime.packages) == 0) && "
            "!has(self.runtime.requirements) && !has(self.git))",
            "Packages and git are brought before the program starts, and nobody here knows what this image "
            "starts: name its command, or put them into the image.",
            lambda spec: (
                spec.runtime.image is None
                or bool(spec.command)
                or not (spec.runtime.packages or spec.runtime.requirements or spec.git)
            ),
            ".runtime",
        ),
        Rule(
            f"!has(self.volumeMounts) || !self.volumeMounts.exists(m, m.mountPath in {_TAKEN})",
            f"{' and '.join(_TAKEN)} are the notebook's own: mount the volume at another path.",
            lambda spec: all(mount.mount_path not in _TAKEN for mount in spec.volume_mounts),
            ".volumeMounts",
        ),
    )


NOTEBOOK_RUNTIME = Kind(
    name="NotebookRuntime",
    plural="notebookruntimes",
    scope="Namespaced",
    short_names=("nb",),
    spec=NotebookRuntimeSpec,
    status=NotebookRuntimeStatus,
    description="A notebook on one node of a ComputePool, which stops when nobody uses it.",
    columns=(
        Column("Pool", ".spec.computePool"),
        Column("Phase", ".status.phase"),
        Column("Last activity", ".status.lastActivityTime", "date"),
        Column("Stops", ".status.idleAt", description="When it stops unless it is used."),
        Column("Reason", ".status.reason", description="Why it waits, stopped or failed."),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    scale=Scale(".spec.cluster.nodes", ".status.cluster.ready"),
)
