"""Workers and rank 0's door in one process: what is handed out is committed, whatever is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data.counting import count
from mlpools.data.plan import Plan, resolve
from mlpools.data.sources import ParquetSource
from mlpools.errors import OutputExists, OutputNotWritable, PeerLost, UserCodeError
from mlpools.inference import asking, shards
from mlpools.inference.asking import Dispensary, Opening
from mlpools.inference.batches import BatchSize
from mlpools.inference.dispenser import Dispenser
from mlpools.inference.engine import Engine
from mlpools.inference.ledger import Ledger
from mlpools.inference.parts import Place
from mlpools.inference.rows import Form
from mlpools.inference.scoring import Scorer
from mlpools.inference.settings import OnError
from mlpools.storage import locate
from mlpools.supervisor.status import ask
from tests.support.pods import free_ports

TOKEN = "secret"
ROWS = 1000


class Doubling:
    names_columns = False
    columns = ("x",)
    unknown = 0

    def __init__(self, bad: frozenset[int] = frozenset()) -> None:
        self._bad = bad

    def predict(self, rows: pa.Table) -> dict[str, pa.Array]:
        values = rows.column("x").to_pylist()
        for value in values:
            if value in self._bad:
                raise ValueError(f"no {value}")
        return {"": pa.array([2 * value for value in values], pa.int64())}


@dataclasses.dataclass
class World:
    """An input, rank 0's door, and workers as threads."""

    folder: Path
    plan: Plan
    shards: list[shards.Shard]
    dispenser: Dispenser
    ledger: Ledger
    port: int
    on_error: OnError = "FailShard"

    @property
    def place(self) -> Place:
        return Place(locate(self.folder / "out"), "parquet", once=True)

    def engine(self, model: Any, worker: str) -> Engine:
        form = Form(("x",), "prediction", whole_names=model.names_columns, errors=self.on_error == "Null")
        scorer = Scorer(model, BatchSize(fixed=64, row_bytes=8, budget=1), self.on_error, alive=lambda: None)
        door = Dispensary("127.0.0.1", self.port, TOKEN, worker)
        return Engine(self.plan, self.shards, form, scorer, self.place, door, f"1-{worker}", budget=1 << 20)

    def work(self, *models: Any) -> None:
        errors: list[BaseException] = []

        def run(engine: Engine) -> None:
            try:
                engine.run()
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=run, args=(self.engine(model, f"{i}-aa"),))
            for i, model in enumerate(models)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def values(self) -> dict[int, Any]:
        """Return the predictions by the row they are for, each of which is there once."""
        found: dict[int, Any] = {}
        for path in sorted((self.folder / "out").glob("part-*.parquet")):
            table = pq.read_table(path)
            assert table.column("x").to_pylist() == sorted(table.column("x").to_pylist())
            for x, prediction in zip(
                *(table.column(it).to_pylist() for it in ("x", "prediction")), strict=True
            ):
                assert x not in found
                found[x] = prediction
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(on_error: OnError = "FailShard", allowed: int = 0) -> World:
        (tmp_path / "in").mkdir()
        for i in range(2):
            rows = pa.table({"x": range(i * ROWS // 2, (i + 1) * ROWS // 2)})
            pq.write_table(rows, tmp_path / f"in/{i}.parquet", row_group_size=100)
        plan = count(resolve(ParquetSource((str(tmp_path / "in"),))))
        cut = shards.cut(plan.group_rows, 200)
        dispenser = Dispenser(TOKEN, {}, on_settled=lambda: None, on_schema=lambda _: None)
        [port] = free_ports(1)
        dispenser.serve(port)
        book = Ledger({shard.number: shard.rows for shard in cut}, {}, allowed=allowed)
        dispenser.open(book, Opening(once=True))
        made.append(World(tmp_path, plan, cut, dispenser, book, port, on_error))
        return made[-1]

    yield make
    for one in made:
        one.dispenser.close()


DOUBLED = {x: 2 * x for x in range(ROWS)}


def test_workers_share_the_shards_and_keep_the_order(world: Callable[..., World]) -> None:
    here = world()
    here.work(Doubling(), Doubling(), Doubling())
    assert here.values() == DOUBLED
    assert here.ledger.finished
    assert not here.ledger.failed
    assert not list((here.folder / "out/_tmp").rglob("*.parquet"))


def test_a_bad_row_costs_its_shard_and_is_named(world: Callable[..., World]) -> None:
    here = world(allowed=1)
    here.work(Doubling(frozenset({777})), Doubling(frozenset({777})))
    assert here.values() == {x: 2 * x for x in range(ROWS) if not 600 <= x < 800}
    [failure] = here.ledger.failed.values()
    assert failure.file.endswith("/in/1.parquet")
    assert failure.row == 277
    assert "row 277 of" in failure.message
    assert "ValueError: no 777" in failure.message


def test_bad_rows_are_null_if_that_was_asked_for(world: Callable[..., World]) -> None:
    here = world(on_error="Null")
    here.work(Doubling(frozenset({0, 777})))
    assert here.values() == {**DOUBLED, 0: None, 777: None}
    notes = [json.loads(path.read_text()) for path in (here.folder / "out/_parts").iterdir()]
    assert sorted((row["file"][-9:], row["row"]) for note in notes for row in note["bad_rows"]) == [
        ("0.parquet", 0),
        ("1.parquet", 277),
    ]


@pytest.mark.parametrize("bad", [150, 250, 450], ids=["a batch", "a shard", "all but one shard"])
def test_bad_rows_alone_do_not_say_of_which_type_predictions_are(
    world: Callable[..., World], bad: int
) -> None:
    class Naming(Doubling):
        names_columns = True

        def predict(self, rows: pa.Table) -> dict[str, pa.Array]:
            return {"double": super().predict(rows)[""].cast(pa.string())}

    here = world(on_error="Null")
    here.work(Naming(frozenset(range(bad))), Naming(frozenset(range(bad))))
    tables = [pq.read_table(path) for path in sorted((here.folder / "out").glob("part-*.parquet"))]
    found = pa.concat_tables(tables).column("double").to_pylist()
    assert found == [None if x < bad else str(2 * x) for x in range(ROWS)]


def test_a_file_that_vanished_is_tried_again_and_costs_its_shards(world: Callable[..., World]) -> None:
    here = world(allowed=5)
    (here.folder / "in/1.parquet").unlink()
    here.work(Doubling())
    assert here.values() == {x: 2 * x for x in range(400)}
    assert sorted(here.ledger.failed) == [2, 3, 4]
    assert "is not there" in here.ledger.failed[4].message


def test_an_output_that_refuses_ends_the_run(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OutputNotWritable("/out cannot be written: No space left on device.")

    here = world()
    monkeypatch.setattr(Place, "publish", refuse)
    here.work(Doubling())
    assert here.dispenser.fatal is not None
    assert "No space left" in str(here.dispenser.fatal)
    assert here.values() == {}


def test_a_worker_whose_output_another_attempt_finished_ends(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OutputExists("/out was finished by another writer.")

    here = world()
    monkeypatch.setattr(Place, "publish", refuse)
    with pytest.raises(PeerLost, match="finished by another writer"):
        here.work(Doubling())


@pytest.mark.parametrize("fails", ["agree", "committed"])
def test_an_error_ends_a_worker_that_waits_for_more_shards(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Others have the rest: its reading thread asks again and again, and its main thread waits for rows."""
    here, waits = world(), threading.Event()
    for _ in range(2):
        here.ledger.give("another", time.monotonic())
    asked, said = Dispensary.next, getattr(Dispensary, fails)

    def ask_on(door: Dispensary) -> Any:
        answer = asked(door)
        if isinstance(answer, float):
            waits.set()
        return answer

    def fail(door: Dispensary, *words: Any) -> Any:
        if fails == "committed" and words[0] < len(here.shards) - 1:
            return said(door, *words)
        waits.wait()
        raise ValueError("broken")

    monkeypatch.setattr(Dispensary, "next", ask_on)
    monkeypatch.setattr(Dispensary, fails, fail)
    with pytest.raises(ValueError, match="broken"):
        here.work(Doubling())


def test_a_schema_that_cannot_be_kept_ends_the_run(world: Callable[..., World]) -> None:
    def refuse(_: str) -> None:
        raise OutputNotWritable("/out/_schema.txt cannot be written: No space left on device.")

    here = world()
    here.dispenser._on_schema = refuse
    here.work(Doubling())
    assert here.dispenser.fatal is not None
    assert "No space left" in str(here.dispenser.fatal)


def test_what_a_worker_left_behind_is_found_and_not_made_again(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It published a shard and died before it could say so."""
    here = world()
    monkeypatch.setattr(Dispensary, "committed", lambda *_: (_ for _ in ()).throw(PeerLost("killed")))
    with pytest.raises(PeerLost, match="killed"):
        here.work(Doubling())
    monkeypatch.undo()
    parts = {path.name: path.stat().st_ino for path in (here.folder / "out").glob("part-*")}
    assert parts
    here.ledger.crash("0-aa", "died")
    here.work(Doubling())
    assert here.values() == DOUBLED
    assert {name: (here.folder / "out" / name).stat().st_ino for name in parts} == parts


def test_strangers_learn_nothing_and_change_nothing(world: Callable[..., World]) -> None:
    here = world()
    assert ask("127.0.0.1", here.port, "POST", "/next", json.dumps({"worker": "x"})) == "{}"
    assert ask("127.0.0.1", here.port, "POST", "/terms", json.dumps({"token": "guess"})) == "{}"
    assert here.ledger.workers == 0
    with pytest.raises(PeerLost, match="does not know this worker"):
        Dispensary("127.0.0.1", here.port, "guess", "x").next()


def test_a_rank_0_that_is_gone_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LOST_SECONDS", 0.3)
    with pytest.raises(PeerLost, match="did not answer"):
        Dispensary("127.0.0.1", free_ports(1)[0], TOKEN, "x").next()


def test_a_fault_of_the_model_s_code_ends_a_worker_that_waits_for_more_shards(
    world: Callable[..., World],
) -> None:
    class Lacking(Doubling):
        def predict(self, rows: pa.Table) -> dict[str, pa.Array]:
            return {"": pa.array([1])}

    one = world()
    with pytest.raises(UserCodeError, match="returned 1 predictions for 64 rows"):
        one.work(Lacking())
    assert one.values() == {}
