"""What a Ray cluster has, and whether that is enough."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence

from mlpools.errors import InvalidSpec
from mlpools.train.scaling import ScalingConfig

_SHOWN_NODES = 8


@dataclasses.dataclass(frozen=True)
class Node:
    """A living node.

    Attributes:
        id: Ray's.
        address: at which other nodes reach it.
        has: amount of each resource, such as ``CPU``, ``GPU``.
    """

    id: str
    address: str
    has: Mapping[str, float]


def is_inside() -> bool:
    """Tell whether this program is part of a Ray cluster, or was told of one by ``RAY_ADDRESS``."""
    ray = sys.modules.get("ray")
    return bool(os.environ.get("RAY_ADDRESS")) or bool(ray is not None and ray.is_initialized())


def nodes() -> list[Node]:
    """Return the nodes of the cluster, after connecting to it where that has not been done."""
    import ray

    if not ray.is_initialized():
        ray.init()  # reads RAY_ADDRESS
    return [
        Node(raw["NodeID"], raw["NodeManagerAddress"], raw["Resources"])
        for raw in sorted(ray.nodes(), key=lambda raw: str(raw["NodeID"]))
        if raw["Alive"]
    ]


def spread(config: ScalingConfig, use_gpu: bool, cluster: Sequence[Node]) -> tuple[int, dict[str, float]]:
    """Return how many workers there will be and what each of them takes.

    Raises:
        InvalidSpec: GPUs are asked for and there are none.
    """
    kind = "GPU" if use_gpu else "CPU"
    hosts = [node for node in cluster if node.has.get(kind, 0) >= 1]
    if not hosts:
        raise InvalidSpec(f"No node of this Ray cluster has a {kind}; it has {described(cluster)}.")
    a_node = min(int(node.has["GPU"]) for node in hosts) if use_gpu else 1
    workers = config.num_workers
    if workers == -1:
        workers = sum(int(node.has["GPU"]) for node in hosts) if use_gpu else len(hosts)
    threads = config.num_cpu_per_worker
    if threads == -1:
        share = -(-workers // len(hosts)) if config.num_workers != -1 else a_node
        threads = max(1, min(int(node.has.get("CPU", 0)) for node in hosts) // share)
    return workers, {"CPU": float(threads), **({"GPU": 1.0} if use_gpu else {})}


def shortage(workers: int, each: Mapping[str, float], cluster: Sequence[Node], per_node: int = 0) -> str:
    """Return one sentence if workers do not fit into what nodes have in all, else nothing.

    Args:
        workers: how many.
        each: what one of them takes.
        cluster: the nodes.
        per_node: so many of them on each node that has any; 0 = as they fit.
    """
    rooms = [
        min(
            (int(node.has.get(name, 0) // amount) for name, amount in each.items() if amount), default=workers
        )
        for node in cluster
    ]
    fit = sum(per_node for room in rooms if room >= per_node) if per_node else sum(rooms)
    if fit >= workers:
        return ""
    so = f", {per_node} on each of {workers // per_node} node(s)," if per_node else ""
    return (
        f"{workers} worker(s) of {amounts(each)}{so} do not fit into this Ray cluster, which has "
        f"{described(cluster)}: there is room for {fit}. Ask for fewer or smaller workers, or add nodes."
    )


def described(cluster: Sequence[Node]) -> str:
    """Return what nodes have, in words."""
    if not cluster:
        return "no node"
    shown = [f"{node.address} with {amounts(node.has)}" for node in cluster[:_SHOWN_NODES]]
    more = len(cluster) - len(shown)
    return f"{len(cluster)} node(s): " + "; ".join(shown) + (f" and {more} more" if more > 0 else "")


def amounts(resources: Mapping[str, float]) -> str:
    """Return resources in words: CPUs, GPUs, and what else was named; not Ray's own bookkeeping."""
    own = ("memory", "object_store_memory")
    named = {
        k: v for k, v in resources.items() if k not in own and not k.startswith(("node:", "accelerator_"))
    }
    return ", ".join(f"{amount:g} {name}" for name, amount in sorted(named.items())) or "no CPU"
