"""Workers of both stages and rank 0's door in one process: every key is called with all its rows, once."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from mlpools.contract.wiring import CACHE_ENV
from mlpools.data.counting import count
from mlpools.data.plan import Plan, resolve
from mlpools.data.sources import ParquetSource
from mlpools.errors import InvalidSpec, PeerLost, UserCodeError
from mlpools.inference import shards
from mlpools.inference.asking import Dispensary, Opening
from mlpools.inference.dispenser import Dispenser
from mlpools.inference.ledger import LEASE_SECONDS
from mlpools.inference.partitions import buckets
from mlpools.inference.partitions.calls import Caller
from mlpools.inference.partitions.place import BucketPlace
from mlpools.inference.partitions.stages import CALL, Stages
from mlpools.inference.partitions.work import Work
from mlpools.inference.parts import Committed
from mlpools.inference.rows import Form
from mlpools.inference.settings import Format, OnError
from mlpools.storage import Location, locate
from tests.support.object_store import ObjectStore
from tests.support.pods import free_ports

TOKEN = "secret"
ROWS, KEYS = 1000, 50
#: Of each key its rows, in order.
EXPECTED = {key: list(range(key, ROWS, KEYS)) for key in range(KEYS)}


class Collecting:
    """Answers with a row for each of the first rows of a key, which tell the key and the row."""

    names_columns = True
    columns = ("k", "x")
    unknown = 0

    def __init__(self, most: int = ROWS, bad: frozenset[int] = frozenset()) -> None:
        self._most, self._bad = most, bad

    def predict(self, rows: pa.Table) -> dict[str, pa.Array]:
        [key] = set(rows.column("k").to_pylist())
        if key in self._bad:
            raise ValueError(f"no {key}")
        assert rows.column("x").to_pylist() == EXPECTED[key]
        return {"row": rows.column("x").combine_chunks()[: self._most]}


@dataclasses.dataclass
class World:
    """An input, both stages of rank 0, and workers as threads."""

    plan: Plan
    stages: Stages
    dispenser: Dispenser
    port: int
    shards: list[shards.Shard]
    on_error: OnError

    def work(self, *models: Any) -> None:
        errors: list[BaseException] = []
        work = [
            threading.Thread(target=self._worker, args=(model, f"{i}-aa", errors))
            for i, model in enumerate(models)
        ]
        for thread in work:
            thread.start()
        while any(thread.is_alive() for thread in work):
            for thread in work:
                thread.join(0.01)
            if self.dispenser.look() and self.stages.go_on():
                self.dispenser.open(self.stages.ledger, self.stages.opening)
        if errors:
            raise errors[0]

    def _worker(self, model: Any, worker: str, errors: list[BaseException]) -> None:
        form = Form(("k",), "prediction", whole_names=True, errors=self.on_error == "Null")
        caller = Caller(model, form, "k", self.on_error, lambda: None)
        place = self.stages.place
        door = Dispensary("127.0.0.1", self.port, TOKEN, worker)
        work = Work(
            self.plan, self.shards, self.stages.buckets, caller, f"1-{worker}", 1 << 20, place.max_rows
        )
        try:
            work.run(place.target, place.form, door)
        except BaseException as error:
            errors.append(error)

    def parts(self) -> list[str]:
        done = self.stages.ledger.done.values()
        return [part.name for raw in done for part in Committed.from_dict(raw).parts]

    def rows(self) -> dict[int, list[Any]]:
        """Return what the committed files have of each key."""
        found: dict[int, list[Any]] = {}
        for name in self.parts():
            table = read(self.stages.place.target.child(name), self.stages.place.form)
            for key, row in zip(*(table.column(it).to_pylist() for it in ("k", "row")), strict=True):
                found.setdefault(key, []).append(row)
        return found


def read(location: Location, form: Format) -> pa.Table:
    data = pa.BufferReader(location.read())
    if form == "csv":
        return pa.csv.read_csv(data)
    return pq.read_table(data) if form == "parquet" else pa.ipc.open_file(data).read_all()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    made: list[World] = []

    def make(
        *,
        form: Format = "parquet",
        once: bool = True,
        max_rows: int | None = None,
        allowed: int = 0,
        on_error: OnError = "FailShard",
        target: Location | None = None,
    ) -> World:
        rows = pa.table({"x": range(ROWS), "k": [x % KEYS for x in range(ROWS)]})
        pq.write_table(rows, tmp_path / "in.parquet", row_group_size=100)
        plan = count(resolve(ParquetSource((str(tmp_path / "in.parquet"),))))
        cut = shards.cut(plan.group_rows, 100)
        place = BucketPlace(target or locate(tmp_path / "out"), form, once, max_rows)
        stages = Stages(place, cut, buckets.number(plan, "k", 100), allowed)
        dispenser = Dispenser(TOKEN, {}, on_settled=lambda: None, on_schema=lambda _: None)
        [port] = free_ports(1)
        dispenser.serve(port)
        dispenser.open(stages.ledger, stages.opening, more=stages.more)
        made.append(World(plan, stages, dispenser, port, cut, on_error))
        return made[-1]

    yield make
    for one in made:
        one.dispenser.close()


@pytest.mark.parametrize("form", ["parquet", "csv", "arrow"])
@pytest.mark.parametrize("once", [True, False])
def test_workers_share_both_stages(world: Callable[..., World], form: Format, once: bool) -> None:
    here = world(form=form, once=once)
    here.work(Collecting(), Collecting())
    assert here.rows() == EXPECTED
    assert here.stages.ledger.finished


def test_files_end_at_the_most_rows_even_within_a_key(world: Callable[..., World]) -> None:
    here = world(max_rows=7)
    here.work(Collecting())
    assert here.rows() == EXPECTED
    sizes = [read(here.stages.place.target.child(name), "parquet").num_rows for name in here.parts()]
    assert max(sizes) == 7


@pytest.mark.parametrize("most", [0, 1])
def test_answers_may_have_fewer_rows_or_none(world: Callable[..., World], most: int) -> None:
    here = world()
    here.work(Collecting(most))
    assert here.rows() == {key: rows[:most] for key, rows in EXPECTED.items() if most}
    assert sum(here.stages.ledger.rows.values()) == ROWS
    assert bool(here.parts()) == bool(most)


def test_a_bad_key_costs_its_bucket_and_is_named(world: Callable[..., World]) -> None:
    here = world(allowed=1)
    here.work(Collecting(bad=frozenset({13})))
    [failure] = here.stages.ledger.failed.values()
    assert failure.key == "13"
    assert "for k = 13: ValueError: no 13." in failure.message
    lost = set(EXPECTED) - set(here.rows())
    assert 13 in lost
    assert here.stages.ledger.rows[failure.shard] == len(lost) * ROWS // KEYS


def test_bad_keys_are_null_if_that_was_asked_for(world: Callable[..., World]) -> None:
    here = world(on_error="Null")
    here.work(Collecting(bad=frozenset({13})))
    assert here.rows() == {**EXPECTED, 13: [None] * (ROWS // KEYS)}
    done = [Committed.from_dict(raw) for raw in here.stages.ledger.done.values()]
    assert sum(one.bad for one in done) == ROWS // KEYS
    assert [bad.key for one in done for bad in one.bad_rows] == ["13"]


def test_two_workers_with_one_bucket_commit_it_once(world: Callable[..., World]) -> None:
    """One was silent for so long that its buckets were handed out again, and then finishes them."""
    here = world()
    silent = threading.Event()

    class Slow(Collecting):
        def predict(self, rows: pa.Table) -> dict[str, pa.Array]:
            if not silent.is_set():
                silent.set()
                with here.dispenser._lock:
                    here.stages.ledger.expire(1e12 + LEASE_SECONDS)
            return super().predict(rows)

    here.work(Slow(), Collecting())
    assert here.rows() == EXPECTED


def test_what_a_worker_committed_and_could_not_say_is_found(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world()
    told = Dispensary.committed

    def lost(self: Dispensary, shard: int, part: Any) -> None:
        if self.stage == CALL:
            raise PeerLost("killed")
        told(self, shard, part)

    monkeypatch.setattr(Dispensary, "committed", lost)
    with pytest.raises(PeerLost, match="killed"):
        here.work(Collecting())
    monkeypatch.undo()
    before = set(here.stages.place.committed(dict.fromkeys(range(here.stages.buckets), 0)))
    assert before
    here.stages.ledger.crash("0-aa", "died")
    here.work(Collecting())
    assert here.rows() == EXPECTED


def test_a_function_that_errs_about_its_rows_ends_the_run_at_once(world: Callable[..., World]) -> None:
    """Also while another worker holds shards, for which the thread that reads would wait."""
    here = world()

    class Wrong(Collecting):
        def predict(self, rows: pa.Table) -> dict[str, pa.Array]:
            return {"a": pa.array([1]), "b": pa.array([1, 2])}

    with pytest.raises(UserCodeError, match="columns of 1 and 2 rows"):
        here.work(Wrong())


def test_all_of_it_in_a_store(world: Callable[..., World], object_store: ObjectStore) -> None:
    here = world(target=Location("s3://bucket/out"))
    here.work(Collecting())
    assert here.rows() == EXPECTED
    here.stages.shuffle.delete()
    assert not any("_shuffle" in name for name in object_store.objects)


def test_what_was_said_of_the_stage_before_does_not_count(world: Callable[..., World]) -> None:
    here = world()
    here.dispenser.open(here.stages.ledger, Opening(once=True, stage=CALL))
    late = Dispensary("127.0.0.1", here.port, TOKEN, "0-late", stage=CALL - 1)
    late.committed(0, {"name": "x", "rows": [1]})
    assert not here.stages.ledger.done
    assert late.next() is None
    assert late.opened(after=CALL) is None


def test_a_column_must_be_there_and_comparable(world: Callable[..., World]) -> None:
    plan = world().plan
    with pytest.raises(InvalidSpec, match="partitionBy names 'kk', which the input has not"):
        buckets.number(plan, "kk")
    prices = dataclasses.replace(plan, schema=pa.schema({"k": pa.float64()}))
    with pytest.raises(InvalidSpec, match="'k' is double"):
        buckets.number(prices, "k")
    assert buckets.number(plan, "k") == 1
    assert buckets.number(plan, "k", 1) == ROWS
