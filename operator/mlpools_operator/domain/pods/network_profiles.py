"""What a pool's network asks of a pod: one table of profiles, and what the pool's own fields add.

docs/networking.md shows the same table, with what could not be tried without such hardware; a test holds
the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlpools_operator.api.v1alpha1 import PoolNetwork
from mlpools_operator.domain import quantities

#: Multus reads here which further networks a pod gets.
MULTUS = "k8s.v1.cni.cncf.io/networks"
IPC_LOCK = "IPC_LOCK"

#: What every profile but Custom says: NCCL warns with the cause of an error. PyTorch's own variables depend
#: on the job's hang time-out, so the worker sets them.
_SAID = {"NCCL_DEBUG": "WARN"}

#: Adapters begin at 25 Gbit/s, which are 3.1 GB/s.
_RDMA_GBS = 2.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profile adds to a pod.

    Attributes:
        host_network: the pod has the machine's network instead of its own.
        resources: devices of the network, requested and limited.
        env: of the container.
        bus_bandwidth: GB/s that any such adapter reaches; 0: the profile says nothing of adapters.
    """

    host_network: bool = False
    resources: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    bus_bandwidth: float = 0.0


PROFILES: Mapping[str, Profile] = {
    "Pod": Profile(env=_SAID),
    "Host": Profile(host_network=True, env=_SAID),
    # A gang whose fabric is broken fails: over TCP it would train on unnoticed, ten times slower.
    "RDMA": Profile(env={**_SAID, "NCCL_NET": "IB"}, bus_bandwidth=_RDMA_GBS),
    # Pods get no huge pages unless network.resources asks for them; touching others' would be a SIGBUS.
    "EFA": Profile(
        resources={"vpc.amazonaws.com/efa": "1"},
        env={**_SAID, "FI_PROVIDER": "efa", "FI_EFA_USE_HUGE_PAGE": "0"},
        bus_bandwidth=_RDMA_GBS,
    ),
    "Custom": Profile(),
}


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a pool's network comes to in a pod.

    Attributes:
        host_network: the pod has the machine's network instead of its own.
        resources: devices of the network, requested and limited.
        env: of the container; a job's own wins.
        annotations: of the pod.
        capabilities: that the container gets although all others are dropped.
        shared_memory: size of /dev/shm.
    """

    host_network: bool
    resources: Mapping[str, str]
    env: Mapping[str, str]
    annotations: Mapping[str, str]
    capabilities: tuple[str, ...]
    shared_memory: str


def wiring(network: PoolNetwork, memory: str) -> Wiring:
    """Return what a pool's network comes to in a pod.

    Args:
        network: of the pool.
        memory: of a node.
    """
    profile = PROFILES[network.profile]
    return Wiring(
        host_network=profile.host_network,
        resources={**profile.resources, **network.resources},
        env={**profile.env, **_interface(network.interface), **network.env},
        annotations={MULTUS: ",".join(network.networks)} if network.networks else {},
        capabilities=(IPC_LOCK,) if network.ipc_lock else (),
        shared_memory=_shared_memory(network.shared_memory, memory),
    )


def is_isolated(network: PoolNetwork) -> bool:
    """Whether jobs get a NetworkPolicy. On the machines' network it would promise what it cannot hold."""
    return network.isolation and not PROFILES[network.profile].host_network


def remark(network: PoolNetwork) -> str:
    """Return what users of the pool have to know of its network, in sentences; empty if nothing."""
    if PROFILES[network.profile].host_network:
        return (
            "Its pods use the machines' network: no NetworkPolicy isolates them, and a machine takes one of "
            "them at a time."
        )
    return "" if network.isolation else "Its pods have no NetworkPolicy: whoever reaches them may connect."


def _interface(name: str | None) -> Mapping[str, str]:
    """Return the variables that name an interface: NCCL takes prefixes unless told otherwise."""
    return {"NCCL_SOCKET_IFNAME": f"={name}", "GLOO_SOCKET_IFNAME": name} if name else {}


def _shared_memory(size: str, memory: str) -> str:
    return quantities.share_of_bytes(memory, int(size[:-1]) / 100) if size.endswith("%") else size
