"""ComputePool: a named number of equal nodes that jobs share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import (
    ENTRY_NAME,
    ObjectName,
    WrittenTime,
)
from mlpools_operator.api.v1alpha1.computepool_status import ComputePoolStatus
from mlpools_operator.api.v1alpha1.meta import (
    LIST_SET,
    Column,
    Kind,
    Model,
    Rule,
    exactly_one,
)
from mlpools_operator.api.v1alpha1.pool_cache import PoolCache
from mlpools_operator.api.v1alpha1.pool_network import PoolNetwork
from mlpools_operator.api.v1alpha1.pool_packages import PoolPackages
from mlpools_operator.api.v1alpha1.pool_preflight import PoolPreflight
from mlpools_operator.api.v1alpha1.pool_queue import PoolQueue
from mlpools_operator.api.v1alpha1.pool_runtime import PoolRuntime
from mlpools_operator.api.v1alpha1.pool_template import Affinity, PodTemplate
from mlpools_operator.api.v1alpha1.quantity import BytesQuantity, CpuQuantity, amount
from mlpools_operator.api.v1alpha1.tenancy import NamespaceSelector

_LabelKey = Annotated[str, StringConstraints(max_length=317)]
_LabelValue = Annotated[str, StringConstraints(max_length=63)]
#: Name of an entry of the operator's catalogue of machines.
FamilyName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=ENTRY_NAME)]
_PLACEHOLDERS = "mlpools-placeholder"
_PriorityClass = Annotated[
    ObjectName,
    Rule(
        f"self != '{_PLACEHOLDERS}'",
        f"{_PLACEHOLDERS} is the class of the pods that keep nodes warm: jobs need a higher one.",
        lambda name: name != _PLACEHOLDERS,
    ),
]


class InstanceShape(Model):
    """The shape of one node of the pool. A node is what one pod requests; a machine may hold several."""

    cpu: CpuQuantity
    """CPUs of one node, such as 2 or 500m. Request and limit of the pod."""
    memory: BytesQuantity
    """Memory of one node in bytes, such as 4Gi. Request and limit of the pod; /dev/shm counts as memory."""
    ephemeral_storage: BytesQuantity | None = None
    """Local disk of one node in bytes, such as 20Gi: logs and scratch files. Without it there is no limit."""
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    """GPUs of one node."""
    gpu_resource: Annotated[
        str, StringConstraints(min_length=3, max_length=317, pattern=r"^[a-z0-9.-]+/[-A-Za-z0-9_.]+$")
    ] = "nvidia.com/gpu"
    """Name under which the cluster's device plugin offers GPUs."""


class Toleration(Model):
    """A machine taint that the pool's pods may live with, as in a pod's tolerations."""

    key: _LabelKey | None = None
    """Key of the taint. Without it every taint is meant, and the operator must be Exists."""
    operator: Literal["Equal", "Exists"] | None = None
    """Equal (taken if absent): key and value must match. Exists: the key is enough."""
    value: _LabelValue | None = None
    """Value of the taint, for the operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Without it all effects are meant."""
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None
    """How many seconds a NoExecute taint is borne before the pod is evicted. Without it: for ever."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.key) && self.key != '' || has(self.operator) && self.operator == 'Exists'",
            "A toleration without a key means every taint: its operator must be Exists.",
            lambda it: bool(it.key) or it.operator == "Exists",
        ),
        Rule(
            "!(has(self.operator) && self.operator == 'Exists' && has(self.value) && self.value != '')",
            "A toleration with the operator Exists takes no value.",
            lambda it: not (it.operator == "Exists" and it.value),
        ),
        Rule(
            "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
            "tolerationSeconds needs the effect NoExecute.",
            lambda it: it.toleration_seconds is None or it.effect == "NoExecute",
        ),
    )


class Placement(Model):
    """How the pods of one job lie to each other."""

    topology_key: Annotated[str, StringConstraints(min_length=1, max_length=317)] = "kubernetes.io/hostname"
    """Label of machines whose value names a domain: a host, a rack, a zone."""
    strategy: Literal["Pack", "Spread", "Any"] = "Any"
    """Pack: the pods of one job share a domain. Spread: they are distributed over domains. Any: no wish."""
    required: bool = False
    """Whether pods rather wait than lie otherwise. False: the strategy is a preference."""


def _holds_shared_memory(spec: ComputePoolSpec) -> bool:
    size = spec.network.shared_memory
    return spec.instance is None or size.endswith("%") or amount(size) < amount(spec.instance.memory)


class ComputePoolSpec(Model):
    """What the pool offers."""

    instance_family: FamilyName | None = None
    """A kind of machine by its name in the operator's catalogue, such as cpu-large: it gives the shape of one
    node and finds such machines. Either this or instance."""
    instance: InstanceShape | None = None
    """The shape of one node, for machines that no family describes. Either this or instanceFamily."""
    backup_instance_families: Annotated[tuple[FamilyName, ...], Field(max_length=5), LIST_SET] = ()
    """Families that are tried in this order when there are not enough machines of instanceFamily; after the
    last comes the first again. Each gives at least what instanceFamily gives."""
    capacity_timeout_seconds: Annotated[int, Field(ge=10, le=86_400)] = 300
    """Seconds in which all pods of an attempt have to get machines. Then those that did give them back, and
    the job queues again, for the next family if there are backups. It does not count as a restart."""
    min_nodes: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Nodes kept warm: machines stay, and have the pool's image, while no job holds them. A suspended pool
    keeps none."""
    max_nodes: Annotated[int, Field(ge=1, le=100_000)]
    """Nodes that jobs of this pool hold together at most. Lowering it never stops running work."""
    queue: PoolQueue = PoolQueue()
    """The rules by which those that wait are served."""
    auto_suspend_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = 3600
    """Seconds without a job, running or queued, after which the pool suspends: no nodes. 0: never."""
    auto_resume: bool = True
    """Whether a job that asks for nodes wakes a suspended pool. Without it, or without a job, the annotation
    mlpools.dev/start-requested-at with a time after status.suspendedSince does."""
    initially_suspended: bool = False
    """Whether the pool is suspended when it is made. Without effect later."""
    suspend: bool = False
    """An administrator's hold: jobs that run finish, others wait. No job wakes such a pool; it goes on when
    this is false again."""
    namespaces: NamespaceSelector = NamespaceSelector()
    """Who may use the pool. Jobs of other namespaces wait with the reason PoolNotAllowed."""
    stop_all: WrittenTime | None = None
    """A moment, such as 2026-11-30T12:00:00Z: every job that started before it is cancelled, once. A moment
    to come is waited for. Jobs that start later are not touched."""
    node_selector: dict[str, _LabelValue] = Field(default_factory=dict, max_length=50)
    """Labels that a machine must have to run pods of this pool."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=50)] = ()
    """Machine taints that pods of this pool tolerate."""
    affinity: Affinity | None = None
    """Further wishes about machines and about other pods on them. The pods of one job: see placement."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods, such as nvidia or gvisor. Absent: the machines' own."""
    scheduler_name: ObjectName | None = None
    """Scheduler of the pods. Absent: Kubernetes' own."""
    priority_class_name: _PriorityClass | None = None
    """PriorityClass of the pods; its value must be above -10, that of the placeholders that keep nodes warm,
    or the pods could not take their places. Absent: the cluster's default."""
    placement: Placement = Placement()
    """How the pods of one job lie to each other."""
    network: PoolNetwork = PoolNetwork()
    """How the pods of one job talk to each other. A change holds from a job's next attempt."""
    pod_template: PodTemplate | None = None
    """The administrator's overlay over the pods, merged last: labels, volumes, helpers, device claims,
    security. A change holds from a job's next attempt."""
    runtime: PoolRuntime = PoolRuntime()
    """The image that jobs of the pool run in, unless they name their own."""
    packages: PoolPackages = PoolPackages()
    """Where jobs install Python packages from, and which. A change holds from a job's next attempt."""
    preflight: PoolPreflight = PoolPreflight()
    """A check of the network before the work. A change holds from a job's next attempt."""
    cache: PoolCache = PoolCache()
    """Where jobs keep data that they read more than once. A change holds from a job's next attempt."""
    lost_node_seconds: Annotated[int, Field(ge=0, le=86_400)] = 30
    """Seconds that a machine may be not ready or not reachable before its pods count as lost."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            ("instance_family", "instance"),
            "Say what a node is: exactly one of instanceFamily and instance is required.",
        ),
        Rule(
            "!has(self.backupInstanceFamilies) || self.backupInstanceFamilies.all(name, "
            "has(self.instanceFamily) && name != self.instanceFamily)",
            "backupInstanceFamilies are for a pool with an instanceFamily, and differ from it.",
            lambda spec: (
                not spec.backup_instance_families
                or spec.instance_family not in (None, *spec.backup_instance_families)
            ),
            ".backupInstanceFamilies",
        ),
        Rule(
            "!has(self.instance) || self.network.sharedMemory.endsWith('%') || "
            "quantity(string(self.instance.memory)).isGreaterThan(quantity(self.network.sharedMemory))",
            "sharedMemory must be smaller than the node's memory, which it is taken from.",
            _holds_shared_memory,
            ".network.sharedMemory",
        ),
        Rule(
            "self.minNodes <= self.maxNodes",
            "minNodes must not be above maxNodes: the pool cannot keep more nodes than it may have.",
            lambda spec: spec.min_nodes <= spec.max_nodes,
            ".minNodes",
        ),
    )


COMPUTE_POOL = Kind(
    name="ComputePool",
    plural="computepools",
    scope="Cluster",
    short_names=("cp",),
    spec=ComputePoolSpec,
    status=ComputePoolStatus,
    description="A named number of equal nodes that jobs of all namespaces share, with a queue in front.",
    columns=(
        Column("State", ".status.state"),
        Column("Shape", ".status.shape", description="What one node has, and its instance family."),
        Column("Nodes", ".status.nodes.summary", description="Active, idle and maximum."),
        Column("Jobs", ".status.jobs", "integer", "Jobs that hold nodes."),
        Column("Queued", ".status.queued", "integer", "Jobs that wait for nodes."),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
