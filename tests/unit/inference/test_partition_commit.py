"""Buckets of a partitioned output are committed once, with all their files; stages follow on one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlpools.data.sharding import RowRange
from mlpools.data.writers import commit
from mlpools.errors import OutputExists, OutputNotWritable
from mlpools.inference.encode import PartFile
from mlpools.inference.partitions.place import BucketPlace
from mlpools.inference.partitions.shuffle import Shuffle, ShuffleFile
from mlpools.inference.partitions.stages import CALL, SCATTER, Stages
from mlpools.inference.partitions.writing import BucketWriter
from mlpools.inference.parts import Committed
from mlpools.inference.shards import Shard
from mlpools.storage import Location, locate
from tests.support.parts import ROWS, SCHEMA, complete, names, read, rows

BUCKETS = 5


def put(place: BucketPlace, shard: int, maker: str, *, files: int = 1, by: int = 0) -> Committed:
    parts = []
    for i in range(files):
        file = PartFile(place.scratch(shard, maker), SCHEMA, place.form)
        file.write(rows(shard + by))
        parts.append(file.finish(place.name(shard, f"{maker}-{i:04d}")))
        place.put(file.path, parts[-1].name)
    return Committed(tuple(parts), ROWS)


def record(place: BucketPlace, shard: int, maker: str = "1-0-aa", **how: int) -> Committed:
    return place.record(put(place, shard, maker, **how), shard=shard, maker=maker)


@pytest.fixture(params=["volume", "store"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "store":
        request.getfixturevalue("object_store")
    return locate(tmp_path / "out") if request.param == "volume" else Location("s3://bucket/out")


class TestPlace:
    def test_of_two_makers_one_wins_with_all_its_files(self, target: Location) -> None:
        place = BucketPlace(target, "parquet", once=True)
        first = record(place, 0, files=2)
        assert record(place, 0, "1-1-bb", by=7, files=3) == first
        assert not any("1-1-bb" in name for name in names(target))
        assert place.of_shard(0, ROWS) == first
        assert place.committed({0: 0}) == {0: first}
        complete(place, {0: first})
        assert read(target) == [*range(ROWS), *range(ROWS)]
        assert {name for name in names(target) if name.startswith("part-")} == {it.name for it in first.parts}

    def test_files_without_a_record_are_none_of_the_output(self, target: Location) -> None:
        place = BucketPlace(target, "parquet", once=True)
        put(place, 0, "1-0-aa", files=2)
        assert place.committed({0: 0}) == {}
        made = record(place, 0, "2-0-bb")
        complete(place, {0: made}, attempt=2)
        assert {name for name in names(target) if name.startswith("part-")} == {made.part.name}

    def test_a_record_without_its_files_is_none(self, target: Location) -> None:
        place = BucketPlace(target, "parquet", once=True)
        target.child(record(place, 0).part.name).delete()
        assert place.committed({0: 0}) == {}
        again = record(place, 0, "2-0-bb")
        assert place.committed({0: 0}) == {0: again}

    def test_where_records_cannot_be_made_once_rank_0_says_which_counts(self, target: Location) -> None:
        place = BucketPlace(target, "parquet", once=False)
        record(place, 0)
        second = record(place, 0, "1-1-bb", by=7)
        assert len(place.committed({0: 0})) == 1
        complete(place, {0: second})
        assert read(target) == list(range(7 * ROWS, 8 * ROWS))

    def test_what_comes_after_the_end_is_taken_back(self, target: Location) -> None:
        place = BucketPlace(target, "parquet", once=True)
        made = record(place, 0)
        complete(place, {0: made})
        with pytest.raises(OutputExists, match="finished by another"):
            record(place, 0, "1-1-bb")
        assert names(target) == {made.part.name, commit.MANIFEST, commit.SUCCESS}


class Deaf:
    """A rank 0 that nobody listens to."""

    def unread(self, shard: int, error: Exception) -> None:
        assert isinstance(error, OutputNotWritable)


def test_files_that_a_record_may_name_stay_whatever_its_writer_heard(
    target: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there, and then the folder of records was cleared away: the output is finished."""
    place, recorded = BucketPlace(target, "parquet", once=True), BucketPlace.record

    def lost(self: BucketPlace, made: Committed, *, shard: int, maker: str) -> Committed:
        recorded(self, made, shard=shard, maker=maker)
        raise OutputNotWritable("/out/_parts cannot be written: No such file or directory.")

    monkeypatch.setattr(BucketPlace, "record", lost)
    with BucketWriter(place, Deaf(), "1-0-aa") as writer:  # type: ignore[arg-type]
        writer.schema = SCHEMA
        draft = writer.begin(0)
        draft.write(rows(0))
        draft.finish(ROWS, 0, ())
    complete(place, place.committed({0: 0}))
    assert read(target) == list(range(ROWS))


class TestStages:
    shards = tuple(Shard(i, (RowRange(i, 0, 10),)) for i in range(2))

    def stages(self, target: Location) -> Stages:
        return Stages(BucketPlace(target, "parquet", once=True), self.shards, BUCKETS, allowed=0)

    def scatter(self, folder: Path, shard: int) -> dict[str, Any]:
        shuffle = Shuffle(locate(folder))
        file = ShuffleFile(shuffle.scratch(shard, "1-0-aa"), "k", BUCKETS, budget=1)
        file.add(pa.table({"k": range(10)}))
        file.finish()
        return {"name": shuffle.publish(file.path, shard, "1-0-aa"), "rows": file.rows.tolist()}

    def test_the_second_begins_when_all_of_the_first_is_there(self, tmp_path: Path) -> None:
        stages = self.stages(locate(tmp_path))
        first = self.scatter(tmp_path, 0)
        stages.ledger.commit("w", 0, first, 0.0)
        assert not stages.go_on()
        stages.ledger.commit("w", 1, self.scatter(tmp_path, 1), 0.0)
        assert stages.progress()[2] == 20
        assert stages.go_on()
        assert stages.opening.stage == CALL
        assert len(stages.opening.files) == 2
        assert sum(stages.ledger.rows.values()) == 20
        assert stages.progress() == (
            {"total": 7, "done": 2 + first["rows"].count(0), "failed": 0},
            {"total": 20, "done": 0, "failed": 0},
            20,
        )
        assert not stages.go_on()

    def test_a_new_attempt_goes_on_with_what_is_there(self, tmp_path: Path) -> None:
        self.scatter(tmp_path, 1)
        name = self.scatter(tmp_path, 0)["name"]
        (tmp_path / "_shuffle" / name).write_bytes(b"damaged")
        stages = self.stages(locate(tmp_path))
        assert stages.opening.stage == SCATTER
        assert set(stages.ledger.done) == {1}

    def test_buckets_that_are_all_there_need_no_first_stage(self, tmp_path: Path) -> None:
        place = BucketPlace(locate(tmp_path), "parquet", once=True)
        for bucket in (1, 3):
            record(place, bucket)
        stages = self.stages(locate(tmp_path))
        assert stages.opening.stage == CALL
        assert stages.ledger.finished
        assert set(stages.ledger.done) == set(range(BUCKETS))
