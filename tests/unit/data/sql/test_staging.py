from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data.sql import staging
from mlpools.data.sql.failures import ConnectionLost
from mlpools.data.sql.query import Query
from mlpools.data.sql.staging import PARTITIONS, Reading, readers, stage
from mlpools.data.writers import commit
from mlpools.data.writers.parts import PartsWriter
from mlpools.errors import DataNotReadable
from mlpools.storage import Location, locate
from tests.support.databases import FragileDatabase

_QUERY = Query("SELECT id FROM t", "id")
_ROWS = 1601


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "PAUSES", (0, 0, 0))


def _ids(target: Location) -> list[int]:
    manifest = commit.read_manifest(target)
    tables = [pq.read_table(f"{target.url}/{part.name}") for part in manifest.parts]
    ids: list[int] = pa.concat_tables(tables)["id"].to_pylist()
    return ids


def test_partitions_are_in_order_and_complete(tmp_path: Path) -> None:
    database = FragileDatabase(_ROWS)
    target, manifest = stage(database, _QUERY, locate(tmp_path))
    assert _ids(target) == list(range(_ROWS))
    assert len(manifest.parts) == PARTITIONS == len(database.queries)
    assert sorted(path.name for path in Path(target.url).iterdir()) == sorted(
        [commit.MANIFEST, commit.SUCCESS, *(part.name for part in manifest.parts)]
    )


def test_a_broken_connection_costs_its_own_partition(tmp_path: Path) -> None:
    database = FragileDatabase(_ROWS)
    database.breaks.update({300: 2, 1500: 1})
    target, _ = stage(database, _QUERY, locate(tmp_path))
    assert _ids(target) == list(range(_ROWS))
    assert {low: count for low, count in database.queries.items() if count > 1} == {300: 3, 1500: 2}
    assert database.snapshots == 1


def test_a_lost_snapshot_costs_everything_that_was_read(tmp_path: Path) -> None:
    database = FragileDatabase(_ROWS)

    class Restarted(FragileDatabase):
        def export(self, session: object) -> str:
            name = super().export(session)  # type: ignore[arg-type]
            self.lost = self.snapshots == 1
            return name

    database = Restarted(_ROWS)
    target, _ = stage(database, _QUERY, locate(tmp_path))
    assert _ids(target) == list(range(_ROWS))
    assert database.snapshots == 2


def test_a_connection_that_keeps_breaking_is_an_error_and_leaves_nothing_to_take_for_whole(
    tmp_path: Path,
) -> None:
    database = FragileDatabase(_ROWS)
    database.breaks[300] = 1000
    with pytest.raises(ConnectionLost):
        stage(database, _QUERY, locate(tmp_path))
    assert not list(tmp_path.rglob(commit.SUCCESS))
    assert not list(tmp_path.rglob(commit.MANIFEST))


def test_what_is_staged_needs_no_database_any_more(tmp_path: Path) -> None:
    class Gone(FragileDatabase):
        def session(self, snapshot: str = ""):  # type: ignore[no-untyped-def]
            raise ConnectionLost("There is no server.")

    first, manifest = stage(FragileDatabase(_ROWS), _QUERY, locate(tmp_path))
    assert stage(Gone(_ROWS), Query("SELECT id FROM t ;", "id"), locate(tmp_path)) == (first, manifest)


@pytest.mark.parametrize("other", [Query("SELECT id FROM u", "id"), Query("SELECT id FROM t")])
def test_another_query_is_staged_beside(tmp_path: Path, other: Query) -> None:
    database = FragileDatabase(_ROWS)
    assert stage(database, other, locate(tmp_path))[0] != stage(database, _QUERY, locate(tmp_path))[0]


def test_half_a_staging_of_a_dead_attempt_is_not_taken_for_whole(tmp_path: Path) -> None:
    database = FragileDatabase(_ROWS)
    target = locate(tmp_path).child(_QUERY.key(database.place))
    attempt = commit.begin(target)
    with PartsWriter(target, pa.schema([("id", pa.int64())]), attempt=attempt) as writer:
        writer.write(pa.table({"id": [-1]}))
    stage(database, _QUERY, locate(tmp_path))
    assert _ids(target) == list(range(_ROWS))
    assert not list(Path(target.url).glob(f"{commit.part_prefix(attempt)}*"))


def test_an_attempt_that_was_believed_dead_and_finished_first_is_used(tmp_path: Path) -> None:
    """Its rows are of another snapshot, so none of ours may be mixed with them."""
    slow, fast = FragileDatabase(_ROWS), FragileDatabase(_ROWS // 2)

    class Overtaken(FragileDatabase):
        def export(self, session: object) -> str:
            stage(fast, _QUERY, locate(tmp_path))
            return super().export(session)  # type: ignore[arg-type]

    slow = Overtaken(_ROWS)
    target, _ = stage(slow, _QUERY, locate(tmp_path))
    assert _ids(target) == list(range(_ROWS // 2))


def test_readers_share_one_snapshot(tmp_path: Path) -> None:
    """What the snapshot's holder fixes travels as JSON; others read partitions, the holder commits all."""
    from mlpools.data.sql.query import Order

    database = FragileDatabase(_ROWS)
    reading = Reading(database, _QUERY, locate(tmp_path))
    with database.session() as holder:
        order = reading.order(holder)
        sent = json.dumps([order.attempt, order.snapshot, order.conditions])
        attempt, snapshot, conditions = json.loads(sent)
        theirs = Order(attempt, snapshot, tuple(conditions))
        read = [
            one
            for first in range(3)
            for one in Reading(database, _QUERY, locate(tmp_path)).read(
                theirs, range(first, len(order.conditions), 3)
            )
        ]
    reading.finish(order, read)
    assert _ids(locate(tmp_path)) == list(range(_ROWS))
    assert database.snapshots == 1


def test_the_first_failure_stops_the_other_readers(tmp_path: Path) -> None:
    class Refusing(FragileDatabase):
        def session(self, snapshot: str = ""):  # type: ignore[no-untyped-def]
            if snapshot:
                raise DataNotReadable("permission denied")
            return super().session(snapshot)

    database = Refusing(_ROWS)
    with pytest.raises(DataNotReadable, match="permission denied"):
        stage(database, _QUERY, locate(tmp_path))
    assert not database.queries


def test_a_caller_who_gives_up_ends_the_reading(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(FragileDatabase(_ROWS), _QUERY, locate(tmp_path), alive=stop)
    assert not list(tmp_path.rglob(commit.SUCCESS))


def test_no_rows_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataNotReadable, match="gave no rows"):
        stage(FragileDatabase(0), Query("SELECT id FROM t"), locate(tmp_path))


@pytest.mark.parametrize(("gib", "expected"), [(0.1, 1), (0.5, 2), (1, 4), (64, 4)])
def test_readers_fit_into_the_memory(gib: float, expected: int) -> None:
    assert readers(int(gib * 2**30)) == expected
