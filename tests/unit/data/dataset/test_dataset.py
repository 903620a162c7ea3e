"""Data sets: versions that never change, of which everything is known, and changes to which are noticed."""

from __future__ import annotations

import datetime
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data import DataConnector, Dataset, ShardedDataConnector
from mlpools.data import dataset as datasets
from mlpools.data.sources import from_spec
from mlpools.data.writers import commit
from mlpools.data.writers.parts import PartsWriter
from mlpools.errors import DataNotReadable, InvalidSpec, OutputExists, OutputNotWritable
from mlpools.gang import Gang
from mlpools.storage import locate
from tests.support.waiting import PATIENCE

FLIGHTS = pa.table(
    {
        "id": pa.array(range(1000), pa.int64()),
        "distance": np.random.default_rng(0).normal(size=1000),
        "carrier": ["AA", "UA"] * 500,
        "late": [i % 4 == 0 for i in range(1000)],
    }
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLPOOLS_DATASETS", str(tmp_path))
    return tmp_path


@pytest.fixture
def flights(root: Path) -> Dataset:
    return Dataset.create("flights").create_version(
        "v1",
        FLIGHTS,
        label_cols=["late"],
        exclude_cols=["id"],
        properties={"query": "select", "rate": 0.5},
        comment="of 2013",
    )


def part(dataset: Dataset) -> Path:
    return Path(dataset.selected.list_files()[0])


def test_a_version_gives_back_what_it_was_made_of(flights: Dataset, root: Path) -> None:
    again = datasets.load_dataset("flights", "v1", root=f"file://{root}")
    assert again.read.to_arrow().equals(FLIGHTS)
    version = again.selected
    assert version == flights.selected
    assert version.schema.equals(FLIGHTS.schema)
    assert (version.dataset, version.name, version.comment) == ("flights", "v1", "of 2013")
    assert (version.label_cols, version.exclude_cols) == (("late",), ("id",))
    assert version.properties == {"query": "select", "rate": 0.5}
    assert (version.rows, version.bytes) == (1000, part(flights).stat().st_size)
    assert version.statistics["late"].mean == 0.25
    assert version.statistics["id"].max == 999
    age = datetime.datetime.now(datetime.UTC) - version.created_on
    assert datetime.timedelta(0) <= age < datetime.timedelta(hours=1)
    assert version.url() == again.fully_qualified_name + "/v1"
    assert again.read.files() == version.list_files() == version.list_files("/")
    assert version.list_files("day=1") == []
    version.verify()


def test_all_kinds_of_data_make_the_same_version(root: Path, tmp_path: Path) -> None:
    pq.write_table(FLIGHTS, tmp_path / "flights.parquet")
    url = str(tmp_path / "flights.parquet")
    made = Dataset.create("kinds")
    for i, data in enumerate((FLIGHTS, DataConnector.from_parquet(url), url)):
        made = made.create_version(f"v{i}", data)
    fingerprints = {version.fingerprint for version in made.list_versions(detailed=True)}
    assert len(fingerprints) == 1
    frame = made.create_version("pandas", FLIGHTS.to_pandas()).read.to_pandas()
    pd.testing.assert_frame_equal(frame, FLIGHTS.to_pandas())
    changed = FLIGHTS.set_column(1, "distance", pa.array(np.zeros(1000)))
    assert made.create_version("changed", changed).selected.fingerprint not in fingerprints
    copy = Dataset.create("copy").create_version("v", made.select_version("v0").read)
    assert copy.selected.fingerprint in fingerprints


def test_training_sees_features_and_labels(flights: Dataset) -> None:
    connector = DataConnector.from_dataset(flights)
    assert connector.schema.names == ["distance", "carrier", "late"]
    assert DataConnector.from_dataset(flights, columns=["id", "late"]).schema.names == ["id", "late"]
    assert pickle.loads(pickle.dumps(connector)).num_rows == 1000
    sharded = ShardedDataConnector.from_dataset(flights)
    assert [sharded.get_shard(Gang(rank, 2)).num_rows for rank in (0, 1)] == [500, 500]


def test_a_job_names_name_and_version(flights: Dataset) -> None:
    source = from_spec("train", {"dataset": {"name": "flights", "version": "v1"}, "columns": ["distance"]})
    assert DataConnector.from_sources(source).schema.names == ["distance"]
    with pytest.raises(InvalidSpec, match=r"data\.train\.dataset needs version"):
        from_spec("train", {"dataset": {"name": "flights"}})


def test_the_plan_does_not_know_attempts(flights: Dataset) -> None:
    """Data that is the same has the same fingerprint in a job's result, if it was made again."""
    before = flights.source().plan().fingerprint()
    flights.delete_version("v1")
    again = flights.create_version("v1", FLIGHTS, label_cols=["late"], exclude_cols=["id"])
    assert again.source().plan().fingerprint() == before


def test_versions_are_listed_selected_and_deleted(flights: Dataset) -> None:
    second = flights.create_version("v2", FLIGHTS.slice(0, 10))
    assert flights.selected.name == "v1"
    assert second.selected.name == "v2"
    assert flights.list_versions() == ["v1", "v2"]
    assert [version.rows for version in flights.list_versions(detailed=True)] == [1000, 10]
    second.delete_version("v1")
    assert second.list_versions() == ["v2"]
    with pytest.raises(DataNotReadable, match=r"no version 'v1'\. Versions at hand: v2"):
        second.select_version("v1")
    second.delete()
    assert Dataset.list_names() == []
    with pytest.raises(DataNotReadable, match="There is no data set 'flights'"):
        Dataset.load("flights")


def test_data_sets_are_listed(root: Path) -> None:
    for name in ("b", "a.b", "A"):
        Dataset.create(name)
    assert Dataset.list_names() == ["A", "a.b", "b"]
    assert repr(Dataset.load("b")) == f"Dataset('b' at {root})"
    with pytest.raises(OutputExists, match="There is a data set 'b'"):
        Dataset.create("b")
    assert Dataset.create("b", exist_ok=True).list_versions() == []


def test_rows_can_be_stored_in_another_order(root: Path) -> None:
    made = Dataset.create("flights")
    versions = [made.create_version(name, FLIGHTS, shuffle=True) for name in "ab"]
    rows = versions[0].read.to_arrow()
    assert rows.column("id") != FLIGHTS.column("id")
    assert rows.sort_by("id").equals(FLIGHTS)
    assert versions[0].selected.fingerprint == versions[1].selected.fingerprint


def test_a_version_never_changes(flights: Dataset) -> None:
    before = part(flights).read_bytes()
    with pytest.raises(OutputExists, match="'flights' has a version 'v1' already, and versions never change"):
        flights.create_version("v1", FLIGHTS.slice(0, 1))
    assert part(flights).read_bytes() == before
    assert flights.read.num_rows == 1000


def test_of_two_creators_one_fails(root: Path) -> None:
    """Both see that the version is not there, and both write all of their rows."""
    first, second = Dataset.create("race"), Dataset.load("race")

    class Overtaken(DataConnector):
        def to_tables(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            second.create_version("v1", FLIGHTS.slice(0, 7))
            return super().to_tables()

    slow = Overtaken.from_dataframe(FLIGHTS)
    with pytest.raises(OutputExists, match="has a version 'v1' already"):
        first.create_version("v1", slow)
    winner = first.select_version("v1")
    assert winner.read.num_rows == 7
    assert len(list((root / "race" / "v1").iterdir())) == 3


def test_a_failed_creation_leaves_no_version(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Dataset.create("flights")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OutputNotWritable, match="No space left"):
            made.create_version("v1", FLIGHTS)
    with pytest.raises(DataNotReadable, match="no rows"):
        made.create_version("v1", FLIGHTS.slice(0, 0))
    assert made.list_versions() == []
    assert made.create_version("v1", FLIGHTS).read.num_rows == 1000


KILLED = """
    import os, signal, sys
    import pyarrow as pa
    from mlpools.data import DataConnector, Dataset

    class Killed(DataConnector):
        def to_tables(self, *args, **kwargs):
            yield from super().to_tables()
            os.kill(os.getpid(), signal.SIGKILL)

    table = pa.table({"x": pa.array(list(range(50)), pa.int64())})
    Dataset.load("flights", root=sys.argv[1]).create_version("v1", Killed.from_dataframe(table))
"""


def test_a_creator_killed_in_the_middle_leaves_no_version(root: Path) -> None:
    made = Dataset.create("flights")
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(root)], timeout=PATIENCE)
    assert run.returncode == -9
    assert made.list_versions() == []
    with pytest.raises(DataNotReadable, match="no version 'v1'"):
        made.select_version("v1")
    assert made.create_version("v1", FLIGHTS).read.num_rows == 1000


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def in_a_page(path: Path) -> None:
    value = np.float64(FLIGHTS.column("distance")[500].as_py()).tobytes()
    flip(path, path.read_bytes().index(value))


def in_the_footer(path: Path) -> None:
    """In the name of the program that wrote the file: no reader needs it, and every parser accepts it."""
    flip(path, path.read_bytes().rindex(b"parquet-cpp-arrow"))


def in_the_manifest(path: Path) -> None:
    flip(path.parent / commit.MANIFEST, 200)


def another_of_the_same_size(path: Path) -> None:
    """Rows 1 and 2 swapped by the same writer: statistics, sizes and places stay."""
    before = path.stat().st_size
    order = [0, 2, 1, *range(3, 1000)]
    other = path.parent.parent / "other"
    with PartsWriter(locate(other), FLIGHTS.schema, attempt="0" * 8) as writer:
        writer.write(FLIGHTS.set_column(1, "distance", FLIGHTS.column("distance").take(order)))
    (other / writer.parts[0].name).replace(path)
    assert path.stat().st_size == before


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "named", "sentence"),
    [
        (in_a_page, "part-", "is damaged: .*CRC checksum verification failed"),
        (in_the_footer, "part-", "is not the file that version 'v1' of data set 'flights' was made of"),
        (in_the_manifest, "_manifest.json", "is not what its writer wrote"),
        (another_of_the_same_size, "part-", "is not the file that version 'v1' of data set 'flights'"),
        (cut_short, "part-", "is not the file that version 'v1' of data set 'flights' was made of"),
        (gone, "part-", "is gone, and version 'v1' of data set 'flights' with it"),
    ],
)
def test_a_reader_notices_changed_bytes(
    flights: Dataset, damage: Callable[[Path], None], named: str, sentence: str
) -> None:
    damage(part(flights))
    with pytest.raises(DataNotReadable, match=rf"{re.escape(named)}.* {sentence}"):
        DataConnector.from_dataset(flights).to_arrow()
    if damage is not in_the_manifest:
        with pytest.raises(DataNotReadable, match=part(flights).name):
            flights.selected.verify()


def test_deletion_while_it_is_read_is_said(flights: Dataset) -> None:
    reader = flights.read
    flights.delete_version("v1")
    with pytest.raises(
        DataNotReadable,
        match=r"part-.* version 'v1' of data set 'flights': was that deleted while it was read\?",
    ):
        reader.to_arrow()
    with pytest.raises(DataNotReadable, match="no finished result"):
        _ = flights.read


def test_a_deletion_that_is_cut_off_leaves_no_version(
    flights: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(commit, "remove", interrupted)
        with pytest.raises(KeyboardInterrupt):
            flights.delete_version("v1")
    with pytest.raises(DataNotReadable, match="no finished result"):
        flights.select_version("v1")
    assert flights.create_version("v1", FLIGHTS.slice(0, 3)).read.num_rows == 3


def test_a_data_set_deleted_meanwhile_gets_no_version(root: Path) -> None:
    class Deleting(DataConnector):
        def to_tables(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            Dataset.load("flights").delete()
            return super().to_tables()

    with pytest.raises(DataNotReadable, match="was deleted while version 'v1' was made"):
        Dataset.create("flights").create_version("v1", Deleting.from_dataframe(FLIGHTS))
    assert not list(root.glob("flights/**/*.parquet"))


@pytest.mark.parametrize("name", ["", "a/b", "..", ".a", "_a", "a b", "x" * 129, "ä"])
def test_names_that_cannot_be_part_of_a_url_are_refused(root: Path, name: str) -> None:
    with pytest.raises(InvalidSpec, match="needs another name"):
        Dataset.create(name)
    with pytest.raises(InvalidSpec, match="needs another name"):
        Dataset.create("fine", exist_ok=True).create_version(name, FLIGHTS)


def test_what_makes_no_sense_is_refused_before_anything_is_written(root: Path) -> None:
    made = Dataset.create("flights")
    for arguments, sentence in (
        ({"label_cols": ["lte"]}, "label_cols names 'lte', which is no column. Did you mean 'late'"),
        ({"exclude_cols": "id"}, r"list of columns: write \['id'\]"),
        ({"label_cols": ["id"], "exclude_cols": ["id"]}, "'id' cannot be a label and excluded"),
        ({"properties": {"when": object()}}, "properties cannot be stored as JSON"),
    ):
        with pytest.raises(InvalidSpec, match=sentence):
            made.create_version("v1", FLIGHTS, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match=r"which version .* by select_version\. There are: none"):
        _ = made.read
    assert not (root / "flights").exists()


def test_somebody_has_to_say_where_data_sets_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPOOLS_DATASETS", raising=False)
    with pytest.raises(InvalidSpec, match="pass root, or set MLPOOLS_DATASETS"):
        Dataset.load("flights")
