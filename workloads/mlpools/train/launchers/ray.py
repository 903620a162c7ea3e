"""One function on many nodes of a Ray cluster at once, each as a rank that knows where the others are."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from mlpools.errors import InvalidSpec, JobError, PeerLost, PortTaken, UserCodeError, WorkerCrashed, one_line
from mlpools.train.launchers.pod import free_ports
from mlpools.train.launchers.ray_cluster import amounts, nodes, shortage

T = TypeVar("T")

#: A port that was free a moment ago may be another program's now: so many times others are looked for.
_OTHER_PORTS = 2
#: Free ports that each worker finds on its node.
_PORTS = 2
#: Other programs of the cluster may use what this one waits for.
_WAIT_SECONDS = 300.0
#: After a rank failed, the others may still end by themselves and tell more; then they are killed.
_SURVIVOR_SECONDS = 10.0
_LOOK_SECONDS = 0.5
#: Ray's tracebacks are made for terminals.
_COLOUR = re.compile(r"\x1b\[\d+m")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one rank is. Ranks on one node follow on one another.

    Attributes:
        rank: 0 … ``world_size`` - 1.
        world_size: number of workers.
        local_rank: among the workers of its node.
        local_world_size: workers of its node.
        node_rank: of its node.
        address: of its node.
        ports: free ones of its node.
        gpus: of all workers of its node, in the order of their local ranks.
        leader_address: of rank 0's node.
        leader_ports: free ones there.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    address: str
    ports: tuple[int, ...]
    gpus: tuple[str, ...]
    leader_address: str
    leader_ports: tuple[int, ...]


def launch(
    function: Callable[[Place], T],
    workers: int,
    resources: Mapping[str, float],
    *,
    per_node: int = 0,
    env: Mapping[str, str] | None = None,
    before: Callable[[Place], None] | None = None,
    look: Callable[[Sequence[Place]], None] | None = None,
    vital: int = 0,
    wait_seconds: float = _WAIT_SECONDS,
) -> list[T]:
    """Call a function once in each of many workers, spread over the nodes of the cluster.

    When one of them fails, the others are ended; when this program ends, Ray ends all.

    Args:
        function: called with the worker's place; what it returns is sent back.
        workers: how many.
        resources: of each: ``{"CPU": 4, "GPU": 1}``, and custom ones.
        per_node: so many of them on each node that has any; 0 = as they fit.
        env: variables of the workers.
        before: called in all workers, and must have returned in all, before the function is called in any.
        look: called here a few times a second while the workers are at it.
        vital: so many first ranks cannot be missed: how others end does not matter, and they are ended with
            these; 0 = all.
        wait_seconds: for resources that other programs of the cluster use.

    Returns:
        The results in the order of ranks, of the vital ones only.

    Raises:
        InvalidSpec: the cluster does not have so much, or nobody gave it back in time.
        JobError: a worker failed: with its own error where that is one, with ``UserCodeError`` for any other
            exception, with ``WorkerCrashed`` if its process or its node is gone.
    """
    with _reserved(workers, per_node, resources, wait_seconds) as group:
        for _ in range(_OTHER_PORTS):
            with contextlib.suppress(PortTaken):
                return _call_all(group, function, workers, resources, env or {}, before, look, vital)
        return _call_all(group, function, workers, resources, env or {}, before, look, vital)


def _call_all(
    group: PlacementGroup,
    function: Callable[[Place], T],
    workers: int,
    resources: Mapping[str, float],
    env: Mapping[str, str],
    before: Callable[[Place], None] | None,
    look: Callable[[Sequence[Place]], None] | None,
    vital: int,
) -> list[T]:
    """Bring the workers up, which find their ports, and call the function in all of them."""
    together = workers // group.bundle_count
    actors = [_actor(group, index // together, resources, env) for index in range(workers)]
    try:
        homes = _collect([actor.home.remote() for actor in actors])
        order = sorted(range(workers), key=lambda index: (homes[index].node, index))
        places = places_of([homes[index] for index in order])
        ranks = [(actors[index], place) for index, place in zip(order, places, strict=True)]
        if before is not None:
            _collect([actor.call.remote(before, place) for actor, place in ranks])
        calls = [actor.call.remote(function, place) for actor, place in ranks]
        return _collect(calls[: vital or workers], lambda: look(places) if look else None)
    finally:
        for actor in actors:
            ray.kill(actor)


@dataclasses.dataclass(frozen=True)
class Home:
    """Where an actor came up."""

    node: str
    address: str
    ports: tuple[int, ...]
    gpus: tuple[str, ...]


class _Worker:
    """The actor."""

    def home(self) -> Home:
        context = ray.get_runtime_context()
        address = ray.util.get_node_ip_address()
        gpus = tuple(context.get_accelerator_ids().get("GPU", ()))
        return Home(context.get_node_id(), address, tuple(free_ports(address, _PORTS)), gpus)

    def call(self, function: Callable[[Place], T], place: Place) -> T:
        return function(place)


def places_of(homes: Sequence[Home]) -> list[Place]:
    """Return the places of ranks whose homes are sorted by node."""
    by_node: dict[str, list[Home]] = {}
    for home in homes:
        by_node.setdefault(home.node, []).append(home)
    first = homes[0]
    found: list[Place] = []
    for node_rank, neighbours in enumerate(by_node.values()):
        gpus = tuple(gpu for home in neighbours for gpu in home.gpus)
        for local_rank, home in enumerate(neighbours):
            found.append(
                Place(
                    rank=len(found),
                    world_size=len(homes),
                    local_rank=local_rank,
                    local_world_size=len(neighbours),
                    node_rank=node_rank,
                    address=home.address,
                    ports=home.ports,
                    gpus=gpus,
                    leader_address=first.address,
                    leader_ports=first.ports,
                )
            )
    return found


@contextlib.contextmanager
def _reserved(
    workers: int, per_node: int, resources: Mapping[str, float], wait_seconds: float
) -> Iterator[PlacementGroup]:
    """Hold all the workers' resources; whatever still runs with them at the end is killed."""
    lacking = shortage(workers, resources, nodes(), per_node)
    if lacking:
        raise InvalidSpec(lacking)
    if per_node:
        a_node = {name: amount * per_node for name, amount in resources.items()}
        group = placement_group([a_node] * (workers // per_node), strategy="STRICT_SPREAD")
    else:
        group = placement_group([dict(resources)] * workers, strategy="SPREAD")
    try:
        if not group.wait(wait_seconds):
            free = amounts(ray.available_resources())
            raise InvalidSpec(
                f"{workers} worker(s) of {amounts(resources)} did not find room within {wait_seconds:.0f} s: "
                f"other programs use this Ray cluster, and {free} is free. Wait for them, or ask for less."
            )
        yield group
    finally:
        remove_placement_group(group)


def _actor(group: PlacementGroup, index: int, resources: Mapping[str, float], env: Mapping[str, str]) -> Any:
    custom = {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU")}
    kind = ray.remote(_Worker).options(
        num_cpus=resources.get("CPU", 0),
        num_gpus=resources.get("GPU", 0),
        resources=custom,
        max_restarts=0,
        runtime_env={"env_vars": dict(env)} if env else None,
        scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index),
    )
    return kind.remote()


def _collect(calls: Sequence[Any], look: Callable[[], None] | None = None) -> list[Any]:
    """Wait for calls of all ranks; when one fails, the others get a moment to tell more."""
    rank_of = {call: rank for rank, call in enumerate(calls)}
    pending, results = list(calls), {}
    failures: list[JobError] = []
    deadline = float("inf")
    while pending and time.monotonic() < deadline:
        done, pending = ray.wait(pending, timeout=_LOOK_SECONDS)
        for call in done:
            rank = rank_of[call]
            try:
                results[rank] = ray.get(call)
            except (RayTaskError, RayActorError) as error:
                failures.append(failure_of(rank, error))
                deadline = min(deadline, time.monotonic() + _SURVIVOR_SECONDS)
        if look is not None and not failures:
            look()
    if failures:
        raise min(failures, key=lambda failure: isinstance(failure, PeerLost))
    return [results[rank] for rank in range(len(calls))]


def failure_of(rank: int, error: RayTaskError | RayActorError) -> JobError:
    """Return what happened to a rank: its own error, or the end of its process."""
    if isinstance(error, RayActorError):
        return WorkerCrashed(
            f"The process of rank {rank} is gone, or its node is: {one_line(error)}. A worker that uses more "
            "memory than its node has ends like this."
        )
    cause = error.cause
    if not isinstance(cause, JobError):
        failure: JobError = UserCodeError(f"Rank {rank}: {type(cause).__name__}: {one_line(cause)}.")
    elif cause.args and str(cause.args[0]).startswith("Rank "):
        return cause
    else:
        failure = type(cause)(f"Rank {rank}: {cause}")
    failure.add_note(_COLOUR.sub("", str(error)))
    return failure
