"""The ranks of an estimator as workers of a Ray cluster; each runs a supervisor, as a pod does."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from mlpools.contract.ends import Exit
from mlpools.contract.reports import Report
from mlpools.contract.wiring import NEIGHBOURS_ENV, SHARED_BY_ENV
from mlpools.data import DataConnector
from mlpools.data.plan import Plan, PlannedFile
from mlpools.document import ContractError
from mlpools.errors import DataNotReadable, from_final
from mlpools.supervisor.status import ask
from mlpools.train.estimators.gangs import Work
from mlpools.train.estimators.handing import plan_of
from mlpools.train.estimators.narrator import Narrator
from mlpools.train.launchers import ray_cluster
from mlpools.train.launchers.pod import Pod, Seat
from mlpools.train.launchers.ray import Place, launch
from mlpools.train.scaling import SameOnEachNode, ScalingConfig

_WAIT_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Shard:
    """Rows that were in memory, in Ray's object store.

    Attributes:
        rank: whose rows they are.
        url: where a rank lays them down, the same on every node.
        version: modification time of the file in nanoseconds, by which readers know it.
        rows: reference to the bytes of the file.
    """

    rank: int
    url: str
    version: str
    rows: Any

    def lay_down(self) -> bool:
        """Write the file, unless this is the node of the caller, and return whether that was done."""
        path = Path(self.url)
        if path.exists() and path.stat().st_mtime_ns == int(self.version):
            return False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(ray.get(self.rows))
        os.utime(temporary, ns=(0, int(self.version)))
        temporary.replace(path)
        return True

    def take_away(self) -> None:
        """Delete the file, and its folder if that was the last one in there."""
        path = Path(self.url)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


@dataclasses.dataclass(frozen=True)
class Rank:
    """What each worker calls.

    Attributes:
        work: to do.
        plans: of each data set, as JSON.
        shards: of those that were in memory.
        everywhere: every rank needs all shards, since groups of rows may cross them.
        home: folder on each node.
        threads: of each worker.
        verbose: as of the narrator's.
    """

    work: Work
    plans: Mapping[str, str]
    shards: Sequence[Shard]
    everywhere: bool
    home: Path
    threads: int
    verbose: int | None

    def check(self, place: Place) -> None:
        """Look whether the files are there, before anybody begins.

        Raises:
            DataNotReadable: one is not on this node, or it is another one.
        """
        own = {shard.url for shard in self.shards}
        for text in self.plans.values():
            for file in Plan.from_json(text).files:
                for info in file.members or [file.info]:
                    local = "://" not in info.url and info.url not in own
                    if local and not (
                        Path(info.url).is_file() and Path(info.url).stat().st_size == info.size
                    ):
                        raise DataNotReadable(
                            f"{info.url} is not on node {place.address} as it is here: put the data where "
                            "every node of the Ray cluster sees it, on a shared volume or in an object store."
                        )

    def __call__(self, place: Place) -> dict[str, bytes]:
        """Run a supervisor with one worker to its end, and return the output on rank 0.

        Raises:
            JobError: it failed.
        """
        needed = [shard for shard in self.shards if self.everywhere or shard.rank == place.rank]
        home = self.home / f"rank-{place.rank}"
        home.mkdir(mode=0o700, parents=True)
        written: list[Shard] = []
        try:
            written += [shard for shard in needed if shard.lay_down()]
            self.work.lay_down(home, self.plans)
            self._run(place, home)
            return self.work.files(home) if place.rank == 0 else {}
        finally:
            for shard in written:
                shard.take_away()
            shutil.rmtree(home, ignore_errors=True)
            with contextlib.suppress(OSError):  # other ranks of the node, or the caller, are not done
                self.home.rmdir()

    def _run(self, place: Place, home: Path) -> None:
        task = self.work.task(home, nodes=place.world_size, coordinator=place.leader_address)
        narrator = Narrator(self.verbose)
        pod = Pod(
            task,
            _seat(place),
            home,
            environ={**self.work.environment(home, self.threads), **_among_neighbours(place)},
            listener=lambda text: narrator.line(place.rank, text),
        )
        with narrator.failing():
            try:
                while pod.running:
                    pod.wait(_WAIT_SECONDS)
            finally:
                pod.close()
            final = pod.final()
            if final.code != Exit.DONE:
                raise from_final(final, of_many=place.world_size > 1)


def train(
    work: Work,
    data: Mapping[str, DataConnector],
    columns: list[str] | None,
    scaling: ScalingConfig,
    narrator: Narrator,
    scratch: Path,
) -> dict[str, bytes]:
    """Train, and return the files of the output by name; see ``gangs.train``.

    Raises:
        JobError: with a cause.
    """
    workers, each = ray_cluster.spread(scaling, work.use_gpu, ray_cluster.nodes())
    plans: dict[str, str] = {}
    shards: list[Shard] = []
    for name, connector in data.items():
        plan = plan_of(connector, scratch / name, workers, columns)
        plans[name] = plan.to_json()
        if connector.plan is None:
            shards += [stored(file) for file in plan.files]
    rank = Rank(work, plans, shards, work.everywhere, scratch, int(each["CPU"]), narrator.verbose)
    files = launch(
        rank,
        workers,
        each,
        per_node=scaling.num_workers_per_node if isinstance(scaling, SameOnEachNode) else 0,
        before=rank.check,
        vital=work.vital,
        look=lambda places: _look(places[0], narrator),
    )
    return files[0]


def stored(file: PlannedFile) -> Shard:
    """Put a laid down file into the object store."""
    with pa.memory_map(file.url) as mapped:
        rows = ray.put(mapped.read_buffer())
    return Shard(int(Path(file.url).stem), file.url, file.version, rows)


def _look(place: Place, narrator: Narrator) -> None:
    if not narrator.watched:
        return
    with contextlib.suppress(OSError, ContractError):
        narrator.report(
            Report.from_json(ask(_seat(place).address, _seat(place).status_port, "GET", "/status"))
        )


def _among_neighbours(place: Place) -> dict[str, str]:
    """Return the variables of a worker that shares its node with others: all see its memory and all GPUs."""
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(place.gpus)} if place.gpus else {}
    return {
        NEIGHBOURS_ENV: f"{place.node_rank} {place.local_rank} {place.local_world_size}",
        SHARED_BY_ENV: str(place.local_world_size),
        **gpus,
    }


def _seat(place: Place) -> Seat:
    return Seat(place.rank, place.address, place.ports[0], place.leader_ports[0], place.leader_ports[1])
