"""Rows by key: into buckets, together again, and what becomes of them is committed once."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data.hashing import hash64
from mlpools.data.writers import commit
from mlpools.errors import DataNotReadable, OutputExists, UserCodeError
from mlpools.inference.partitions.calls import Caller
from mlpools.inference.partitions.gather import Limits, PoisonKey, gather
from mlpools.inference.partitions.shuffle import Shuffle, ShuffleFile
from mlpools.inference.rows import Form
from mlpools.storage import Location, locate
from tests.support.object_store import ObjectStore

BUCKETS = 5


def keyed(keys: list[Any], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"k": pa.array(keys, kind), "x": range(len(keys))})


def shuffled(folder: Path, tables: list[pa.Table], *, shard: int = 0, budget: int = 64) -> str:
    shuffle = Shuffle(locate(folder))
    file = ShuffleFile(shuffle.scratch(shard, "1-0-aa"), "k", BUCKETS, budget=budget)
    for table in tables:
        file.add(table)
    file.finish()
    return shuffle.publish(file.path, shard, "1-0-aa")


def read_all(folder: Path, name: str) -> pa.Table:
    file = Shuffle(locate(folder)).open(name)
    return pa.concat_tables(table for bucket in range(BUCKETS) for table in file.read(bucket))


def limits(folder: Path, load: int = 1 << 20, key: int = 1 << 20) -> Limits:
    return Limits(load, key, folder)


def groups_of(tables: list[pa.Table], bounds: Limits) -> list[tuple[Any, list[int]]]:
    found = []
    for groups in gather(iter(tables), "k", BUCKETS, bounds):
        for of_key in groups:
            [key] = set(of_key.column("k").to_pylist())
            found.append((key, of_key.column("x").to_pylist()))
    return found


def expected_groups(keys: list[Any]) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = {}
    for x, key in enumerate(keys):
        found.setdefault(key, []).append(x)
    return found


class TestShuffle:
    @given(keys=st.lists(st.none() | st.integers(-3, 40), max_size=60), cut=st.integers(0, 60))
    @settings(max_examples=30, deadline=None)
    def test_every_row_is_in_the_bucket_of_its_key_in_order(
        self, tmp_path_factory: pytest.TempPathFactory, keys: list[int | None], cut: int
    ) -> None:
        table = keyed(keys, pa.int32())
        folder = tmp_path_factory.mktemp("shuffle")
        file = Shuffle(locate(folder)).open(shuffled(folder, [table.slice(0, cut), table.slice(cut)]))
        found = []
        for bucket in range(BUCKETS):
            tables = list(file.read(bucket))
            of_bucket = list(itertools.chain.from_iterable(it.column("x").to_pylist() for it in tables))
            assert of_bucket == sorted(of_bucket)
            assert len(of_bucket) == file.rows(BUCKETS)[bucket]
            for x in of_bucket:
                assert hash64(pa.array([keys[x]], pa.int64()), "k")[0] % BUCKETS == bucket
            found += of_bucket
        assert sorted(found) == list(range(len(keys)))

    def test_types_stay_as_they_are(self, tmp_path: Path) -> None:
        table = keyed(["a", None, "b"]).append_column("c", pa.array(["p", "q", "p"]).dictionary_encode())
        found = read_all(tmp_path, shuffled(tmp_path, [table, table]))
        assert found.schema == table.schema
        assert sorted(found.column("c").to_pylist()) == ["p"] * 4 + ["q"] * 2

    @pytest.mark.parametrize("damage", ["cut", "changed"])
    def test_a_damaged_file_is_found_out(self, tmp_path: Path, damage: str) -> None:
        name = shuffled(tmp_path, [keyed([1])])
        path = tmp_path / "_shuffle" / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] if damage == "cut" else bytes(200) + data[200:])
        with pytest.raises(DataNotReadable, match="is damaged"):
            read_all(tmp_path, name)

    def test_a_large_index_is_read_whole(self, tmp_path: Path) -> None:
        tables = [keyed([i]) for i in range(4000)]
        file = Shuffle(locate(tmp_path)).open(shuffled(tmp_path, tables, budget=1))
        assert sum(file.rows(BUCKETS)) == 4000

    def test_what_comes_after_the_end_is_taken_back(self, tmp_path: Path) -> None:
        (tmp_path / commit.MANIFEST).write_text("{}")
        with pytest.raises(OutputExists):
            shuffled(tmp_path, [keyed([1])])
        assert not list((tmp_path / "_shuffle").iterdir())

    def test_of_two_copies_of_a_shard_one_is_used(self, tmp_path: Path) -> None:
        name = shuffled(tmp_path, [keyed([1])])
        assert shuffled(tmp_path, [keyed([1])]) == name  # a second try of one worker
        (tmp_path / "_shuffle" / name.replace("1-0-aa", "2-0-bb")).write_bytes(b"copy")
        assert Shuffle(locate(tmp_path)).committed({0}) == {0: name}

    def test_in_a_store(self, object_store: ObjectStore, tmp_path: Path) -> None:
        shuffle = Shuffle(Location("s3://bucket/out"))
        file = ShuffleFile(tmp_path / "file", "k", BUCKETS, budget=1)
        file.add(keyed([1, 2, 1]))
        file.finish()
        name = shuffle.publish(file.path, 3, "1-0-aa")
        assert shuffle.committed({3}) == {3: name}
        assert sum(shuffle.open(name).rows(BUCKETS)) == 3
        shuffle.delete()
        assert shuffle.committed({3}) == {}


class TestGather:
    @given(
        keys=st.lists(st.none() | st.integers(0, 30), min_size=1, max_size=200),
        load=st.sampled_from([1, 400, 1 << 20]),
    )
    @settings(max_examples=40, deadline=None)
    def test_the_rows_of_a_key_are_together_and_in_order_however_little_fits(
        self, tmp_path_factory: pytest.TempPathFactory, keys: list[int | None], load: int
    ) -> None:
        table = keyed(keys, pa.int64())
        tables = [table.slice(at, 7) for at in range(0, len(keys), 7)]
        folder = tmp_path_factory.mktemp("gather")
        found = groups_of(tables, limits(folder, load=load))
        assert len(found) == len(dict(found))
        assert dict(found) == expected_groups(keys)
        assert not list(folder.iterdir())

    def test_texts_in_dictionaries_are_one_key(self, tmp_path: Path) -> None:
        tables = [
            keyed(keys).cast(pa.schema({"k": pa.dictionary(pa.int32(), pa.string()), "x": pa.int64()}))
            for keys in (["a", "b"], ["b", "a"])
        ]
        assert sorted(key for key, _ in groups_of(tables, limits(tmp_path))) == ["a", "b"]

    def test_keys_of_one_hash_are_told_apart(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "mlpools.inference.partitions.gather.hash64", lambda it, _: np.ones(len(it), np.uint64)
        )
        found = groups_of([keyed([1, 2, 1])], limits(tmp_path, load=1))
        assert dict(found) == {1: [0, 2], 2: [1]}

    def test_a_hot_key_that_fits_is_one_call(self, tmp_path: Path) -> None:
        keys = [7 if i % 2 else i for i in range(2000)]
        found = groups_of([keyed(keys)], limits(tmp_path, load=1000, key=20_000))
        assert len(dict(found)[7]) == 1000

    def test_a_key_that_does_not_fit_is_named_before_any_call(self, tmp_path: Path) -> None:
        keys = [7 if i % 2 else i for i in range(2000)]
        with pytest.raises(PoisonKey, match="rows take 0 MB") as caught:
            next(gather(iter([keyed(keys)]), "k", BUCKETS, limits(tmp_path, load=1000, key=10_000)))
        assert caught.value.key == "7"
        assert not list(tmp_path.iterdir())

    def test_a_full_disk_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(DataNotReadable, match="has no room for them"):
            list(gather(iter([keyed([1, 2])]), "k", BUCKETS, limits(tmp_path / "gone", load=1)))

    def test_a_million_keys(self, tmp_path: Path) -> None:
        count = 1_000_000
        table = pa.table({"k": np.arange(count) % 999_983, "x": np.arange(count)})
        [groups] = gather(iter([table]), "k", BUCKETS, limits(tmp_path, load=1 << 30))
        assert len(groups.borders) == 999_983 + 1
        firsts = groups.rows.column("k").take(pa.array(groups.borders[:-1]))
        assert len(firsts.unique()) == 999_983


class Answering:
    names_columns = True
    columns = ("k", "x")
    unknown = 0

    def __init__(self, *answers: int, names: tuple[str, ...] = ("a",), whole: bool = True) -> None:
        self._answers, self._names, self.names_columns = answers, names, whole

    def predict(self, rows: pa.Table) -> dict[str, pa.Array]:
        if not self._answers:
            raise ValueError("no answer")
        return {name: pa.array(range(count)) for name, count in zip(self._names, self._answers, strict=True)}


def caller(model: Any, kept: tuple[str, ...], on_error: Any = "FailShard") -> Caller:
    form = Form(kept, "prediction", whole_names=model.names_columns, errors=on_error == "Null")
    return Caller(model, form, "k", on_error, lambda: None)


class TestCalls:
    rows = keyed(["b", "b", "b"])

    @pytest.mark.parametrize("count", [0, 1, 3, 5])
    def test_an_answer_may_have_any_number_of_rows(self, count: int) -> None:
        answer = caller(Answering(count), ("k",)).call(self.rows)
        assert answer.rows.to_pydict() == {"k": ["b"] * count, "a": list(range(count))}

    def test_as_many_rows_stand_beside_those_of_the_input(self) -> None:
        answer = caller(Answering(3), ("x", "k")).call(self.rows)
        assert answer.rows.to_pydict() == {"x": [0, 1, 2], "k": ["b"] * 3, "a": [0, 1, 2]}

    def test_other_columns_cannot_stand_beside_other_rows(self) -> None:
        with pytest.raises(UserCodeError, match="only 'k' can stand beside them, and not 'x'"):
            caller(Answering(2), ("k", "x")).call(self.rows)

    def test_columns_of_an_answer_have_one_length(self) -> None:
        with pytest.raises(UserCodeError, match="columns of 1 and 2 rows for k = b"):
            caller(Answering(1, 2, names=("a", "b")), ()).call(self.rows)

    def test_models_predict_once_a_row(self) -> None:
        with pytest.raises(UserCodeError, match="2 predictions for the 3 rows of k = b"):
            caller(Answering(2, names=("",), whole=False), ()).call(self.rows)

    def test_a_bad_key_fails_or_is_null(self) -> None:
        with pytest.raises(PoisonKey, match="ValueError: no answer") as caught:
            caller(Answering(), ("k",)).call(self.rows)
        assert caught.value.key == "b"
        answer = caller(Answering(), ("x",), "Null").call(self.rows)
        assert answer.key == "b"
        assert answer.rows.column("x").to_pylist() == [0, 1, 2]
        assert answer.rows.column("_error").to_pylist() == ["ValueError: no answer"] * 3
