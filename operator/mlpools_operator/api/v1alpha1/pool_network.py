"""How the pods of a ComputePool talk to each other."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.env import OWN_ENV, OWN_ENV_PREFIX, is_own_variable
from mlpools_operator.api.v1alpha1.meta import Model, Rule
from mlpools_operator.api.v1alpha1.quantity import QUANTITY, PositiveQuantity, amount

#: Resources of a node that are not the network's.
_SHAPE_RESOURCES = ("cpu", "memory", "ephemeral-storage")

# Linux takes 15 characters; NCCL reads ^, = and commas as a pattern.
_Interface = Annotated[
    str, StringConstraints(min_length=1, max_length=15, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
]
_MultusNetwork = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=512,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
        r"(@[A-Za-z0-9][A-Za-z0-9_.-]*)?$",
    ),
]
_VariableValue = Annotated[str, StringConstraints(max_length=4096)]
_SHARE = r"[1-9][0-9]?%"
_SharedMemory = Annotated[
    str,
    StringConstraints(max_length=32, pattern=rf"^({_SHARE}|{QUANTITY.strip('^$')})$"),
    Rule(
        "self.endsWith('%') || isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",
        "must be a share of the node's memory, such as 30%, or a quantity above 0, such as 8Gi",
        lambda text: text.endswith("%") or amount(text) > 0,
    ),
]


def _is_device(name: str) -> bool:
    return name not in _SHAPE_RESOURCES and not name.endswith("/gpu")


_Resources = Annotated[
    dict[str, PositiveQuantity],
    Field(max_length=16),
    Rule(
        f"self.all(name, !(name in {list(_SHAPE_RESOURCES)}) && !name.endsWith('/gpu'))",
        "CPU, memory, disk and GPUs are the node's shape: say them in spec.instance, and here the devices of "
        "the network.",
        lambda resources: all(_is_device(name) for name in resources),
    ),
]
_Env = Annotated[
    dict[str, _VariableValue],
    Field(max_length=64),
    Rule(
        "self.all(name, name.size() <= 256 && name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",
        "Names of variables are at most 256 letters, digits and _, and do not begin with a digit.",
        lambda env: all(len(name) <= 256 and name.isascii() and name.isidentifier() for name in env),
    ),
    Rule(
        f"self.all(name, !name.startsWith('{OWN_ENV_PREFIX}') && name != '{OWN_ENV}')",
        f"{OWN_ENV} and names that begin with {OWN_ENV_PREFIX} are mlpools' own: choose another name.",
        lambda env: not any(is_own_variable(name) for name in env),
    ),
]


class PoolNetwork(Model):
    """How the pods of a job talk to each other, and who else may talk to them."""

    profile: Literal["Pod", "Host", "RDMA", "EFA", "Custom"] = "Pod"
    """Pod: the cluster's pod network. Host: the machine's own network, one such pod per machine. RDMA:
    InfiniBand or RoCE devices, named in resources or brought by networks. EFA: AWS' Elastic Fabric Adapter.
    Custom: only what the fields below say. docs/networking.md has what each adds to a pod."""
    interface: _Interface | None = None
    """Network interface of NCCL and Gloo, such as eth0 or net1. Absent: they choose one."""
    resources: _Resources = Field(default_factory=dict)
    """Devices of the network for each node, such as rdma/hca_shared_devices_a: 1, or huge pages."""
    networks: Annotated[tuple[_MultusNetwork, ...], Field(max_length=16)] = ()
    """Further networks of each pod: names of Multus NetworkAttachmentDefinitions, name, namespace/name or
    name@interface. A name without a namespace is looked up in the job's."""
    ipc_lock: bool = False
    """Whether pods may lock any amount of memory, as RDMA needs where the machines' container runtime limits
    it: the capability IPC_LOCK, and user 0, since the kernel gives capabilities to no other user."""
    env: _Env = Field(default_factory=dict)
    """Environment variables of every job, such as NCCL_IB_HCA. They win over the profile's, and a job's own
    env over both."""
    shared_memory: _SharedMemory = "30%"
    """Size of /dev/shm: a share of the node's memory or a quantity. What it holds counts as memory."""
    isolation: bool = True
    """Whether a NetworkPolicy for each job lets in only its own pods and the operator. The profile Host
    cannot have one: a NetworkPolicy does not hold on the machines' network."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.profile) || self.profile != 'RDMA' || "
            "has(self.resources) && self.resources.size() > 0 || "
            "has(self.networks) && self.networks.size() > 0",
            "The profile RDMA needs the device: name it in resources, such as rdma/hca_shared_devices_a: 1, "
            "or the networks that bring it.",
            lambda it: it.profile != "RDMA" or bool(it.resources or it.networks),
        ),
    )
