"""Data sets, shards and raw files where most of them lie: in an object store."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mlpools.data import DataConnector, Dataset, generate_shards
from mlpools.data.writers import commit
from mlpools.data.writers.parts import PartsWriter
from mlpools.errors import DataNotReadable, OutputExists, OutputNotWritable
from mlpools.storage import locate
from tests.support.object_store import Fault, ObjectStore

ROOT = "s3://bucket/datasets"
ROWS = pa.table({"x": pa.array(range(1000), pa.int64()), "y": np.linspace(0, 1, 1000)})


def names(store: ObjectStore, prefix: str) -> set[str]:
    return {name.removeprefix(prefix) for name in store.objects if name.startswith(prefix)}


def test_a_version_comes_back_and_goes(object_store: ObjectStore) -> None:
    made = Dataset.create("flights", root=ROOT).create_version("v1", ROWS, exclude_cols=["x"])
    assert Dataset.load("flights", root=ROOT).select_version("v1").read.to_arrow().equals(ROWS)
    assert DataConnector.from_dataset(made).schema.names == ["y"]
    assert Dataset.list_names(ROOT) == ["flights"]
    made.selected.verify()
    with pytest.raises(OutputExists, match="versions never change"):
        made.create_version("v1", ROWS)
    reader = DataConnector.from_dataset(made, use_file_cache=False)
    made.delete()
    assert object_store.objects == {}
    with pytest.raises(DataNotReadable, match="was that deleted while it was read"):
        reader.to_arrow()


def test_a_changed_object_is_noticed(object_store: ObjectStore) -> None:
    made = Dataset.create("flights", root=ROOT).create_version("v1", ROWS)
    (name,) = (name for name in object_store.objects if name.endswith(".parquet"))
    good = object_store.objects[name]
    for place in (100, len(good) - 100):
        object_store.objects[name] = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises(DataNotReadable, match=r"part-.* (is damaged|is not the file)"):
            made.read.to_arrow()


def test_of_two_writers_one_wins(object_store: ObjectStore) -> None:
    target = locate("s3://bucket/result")

    attempts = [commit.begin(target) for _ in range(2)]
    parts = []
    for attempt in attempts:
        with PartsWriter(target, ROWS.schema, attempt=attempt) as writer:
            writer.write(ROWS)
        parts.append(writer.parts)
    result = commit.commit(target, parts[1], ROWS.schema, attempt=attempts[1])
    with pytest.raises(OutputExists, match="finished by another writer"):
        commit.commit(target, parts[0], ROWS.schema, attempt=attempts[0])
    assert names(object_store, "bucket/result/") == {
        commit.MANIFEST,
        commit.SUCCESS,
        *(part.name for part in result.parts),
    }


def test_a_store_without_create_only_writes_is_said(
    object_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    commit.begin(locate("s3://bucket/a"))
    assert caplog.text == ""
    object_store.honours_once = False
    object_store.objects["bucket/a/.once-probe-left-behind"] = b"1"
    commit.begin(locate("s3://bucket/a"))
    assert "The store of s3://bucket/a replaces objects that must be written once only" in caplog.text


@pytest.mark.parametrize("put", range(3))
def test_a_lost_answer_and_a_busy_store_do_no_harm(object_store: ObjectStore, put: int) -> None:
    """Part, manifest and mark: each once written without our hearing of it, and once refused before."""
    put += 2  # the two probes of the store
    made = Dataset.create("flights", root=ROOT)
    for version, fault in (("lost", Fault("PUT", lose_answer=True)), ("busy", Fault("PUT", status=503))):
        object_store.faults = [*(Fault("PUT", before=lambda: None) for _ in range(put)), fault]
        made.create_version(version, ROWS)
        assert fault.times == 0
        assert made.select_version(version).read.num_rows == 1000
    assert made.list_versions() == ["busy", "lost"]


def test_a_store_that_refuses_is_named(object_store: ObjectStore) -> None:
    made = Dataset.create("flights", root=ROOT)
    object_store.faults = [Fault("PUT", times=99, status=403, code="AccessDenied")]
    with pytest.raises(OutputNotWritable, match="s3://bucket/datasets/flights/v1/"):
        made.create_version("v1", ROWS)
    object_store.faults = []
    assert made.list_versions() == []


def test_pictures_and_their_shards(object_store: ObjectStore, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 4, 6, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        object_store.objects[f"bucket/photos/{i % 2}/{i:02d}.png"] = file.getvalue()
    expected = np.concatenate([pixels[::2], pixels[1::2]])
    generate_shards("s3://bucket/photos", "s3://bucket/shards", target_shard_size_mb=0.001)
    for connector in (
        DataConnector.from_images("s3://bucket/photos"),
        DataConnector.from_shards("s3://bucket/shards", "image"),
    ):
        images = connector.to_arrow().column("image").combine_chunks().to_numpy_ndarray()
        np.testing.assert_array_equal(images, expected)
    object_store.objects["bucket/photos/1/note"] = b"one"  # which is in no cache yet
    connector = DataConnector.from_binary_files("s3://bucket/photos")
    object_store.objects["bucket/photos/1/note"] = b"another"
    with pytest.raises(DataNotReadable, match=r"s3://bucket/photos/1/note was replaced"):
        connector.to_arrow()
