"""Shards: every file once, whatever was cut off before, and read back as if it were a file."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlpools.data import DataConnector, ShardedDataConnector
from mlpools.data.packs import cut, load
from mlpools.data.writers import commit, shards
from mlpools.data.writers.shards import generate_shards
from mlpools.errors import DataNotReadable, InvalidSpec, OutputExists
from mlpools.gang import Gang
from mlpools.storage import FileInfo, locate
from tests.support.waiting import PATIENCE

MB = 1 << 20


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(30):
        folder = tmp_path / "src" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:02d}.bin").write_bytes(rng.bytes(1000 + i))
    return tmp_path / "src"


@given(
    sizes=st.lists(st.integers(0, 50), max_size=40),
    most_bytes=st.integers(1, 100),
    most_files=st.integers(1, 10),
)
def test_files_are_cut_into_ranges_within_the_limits(
    sizes: list[int], most_bytes: int, most_files: int
) -> None:
    ranges = list(cut(sizes, most_bytes, most_files))
    assert [i for start, stop in ranges for i in range(start, stop)] == list(range(len(sizes)))
    for start, stop in ranges:
        assert stop - start <= most_files
        assert stop - start == 1 or sum(sizes[start:stop]) <= most_bytes
    for (start, stop), (_, after) in itertools.pairwise(ranges):
        assert stop - start == most_files or sum(sizes[start : stop + 1]) > most_bytes or after == stop


def read(dest: Path, **choice: object) -> dict[str, bytes]:
    table = DataConnector.from_shards(str(dest), include_paths=True, **choice).to_arrow()  # type: ignore[arg-type]
    return dict(zip(table.column("path").to_pylist(), table.column("bytes").to_pylist(), strict=True))


def contents(src: Path) -> dict[str, bytes]:
    return {str(path.relative_to(src)): path.read_bytes() for path in src.glob("*/*.bin")}


def test_every_file_once(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_BATCH_FILES", 3)
    dest = tmp_path / "dest"
    manifest = generate_shards(str(files), str(dest), target_shard_size_mb=9000 / MB)
    assert len(manifest.parts) == 4
    assert manifest.rows == 30
    assert read(dest) == contents(files)
    commit.verify(locate(dest), manifest)
    assert len(list(dest.iterdir())) == 6
    connector = ShardedDataConnector.from_sources(DataConnector.from_shards(str(dest)).data_sources)
    assert connector.num_rows == 30
    parts = [connector.get_shard(Gang(rank, 4)).to_arrow().column("bytes").to_pylist() for rank in range(4)]
    assert list(itertools.chain(*parts)) == [content for _, content in sorted(contents(files).items())]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_patterns_filters_and_limits(files: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    generate_shards(str(files), str(dest), ["a/*.bin"])
    assert sorted(read(dest)) == [f"{i:02d}.bin" for i in range(0, 30, 2)]
    assert list(read(dest, filter="path > '20.bin'", limit=2)) == ["22.bin", "24.bin"]
    assert DataConnector.from_shards(str(dest), filter="path > '20.bin'").num_rows == 4
    with pytest.raises(DataNotReadable, match="None of the 30 files"):
        generate_shards(str(files), str(tmp_path / "other"), "*.jpg")
    with pytest.raises(InvalidSpec, match="above 0"):
        generate_shards(str(files), str(tmp_path / "other"), target_shard_size_mb=0)


KILLED = """
    import os, signal, sys
    from mlpools.data.writers import shards

    steps = 0
    def hook(event, arguments):
        global steps
        if event in ("open", "os.rename", "os.link") and str(arguments[0]).startswith(sys.argv[2]):
            steps += 1
            if steps == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)

    shards._WRITERS = 1
    sys.addaudithook(hook)
    shards.generate_shards(sys.argv[1], sys.argv[2], target_shard_size_mb=9000 / (1 << 20))
"""


@pytest.mark.parametrize("dies_at", [2, 8, 13])
def test_a_run_goes_on_where_it_was_killed(
    files: Path, tmp_path: Path, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "dest"
    run = [sys.executable, "-c", textwrap.dedent(KILLED), str(files), str(dest), str(dies_at)]
    assert subprocess.run(run, timeout=PATIENCE).returncode == -9
    with pytest.raises(DataNotReadable, match="no finished result"):
        DataConnector.from_shards(str(dest))
    notes = {path.name[1:].removesuffix(".json") for path in dest.glob("_shard-*.json")}
    before = {name: (dest / name).stat().st_ino for name in notes}
    manifest = generate_shards(str(files), str(dest), target_shard_size_mb=9000 / MB)
    assert read(dest) == contents(files)
    assert {name: (dest / name).stat().st_ino for name in notes} == before, (
        "a finished shard was written again"
    )
    assert {path.name for path in dest.iterdir()} == {
        commit.MANIFEST,
        commit.SUCCESS,
        *(part.name for part in manifest.parts),
    }


def test_a_source_that_changes_meanwhile_is_packed_anew(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "dest"

    def changing(info: FileInfo) -> bytes:
        os.utime(files / "b" / "29.bin", (1, 1))
        return load(info)

    with monkeypatch.context() as patched:
        patched.setattr(shards, "load", changing)
        with pytest.raises(DataNotReadable, match=r"29\.bin was replaced"):
            generate_shards(str(files), str(dest), target_shard_size_mb=9000 / MB)
    assert list(dest.glob("shard-*"))
    packed = files / "a" / "00.bin"
    packed.write_bytes(packed.read_bytes()[::-1])  # of the same size, and in a shard that is finished
    generate_shards(str(files), str(dest), target_shard_size_mb=9000 / MB)
    assert read(dest) == contents(files)
    assert len(list(dest.iterdir())) == 6


def test_a_result_is_replaced_only_if_that_is_wanted(files: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    generate_shards(str(files), str(dest))
    with pytest.raises(OutputExists, match="finished result"):
        generate_shards(str(files), str(dest))
    (files / "a" / "00.bin").write_bytes(b"new")
    generate_shards(str(files), str(dest), force_cleanup=True)
    assert read(dest)["a/00.bin"] == b"new"
    (dest / "mine.txt").write_text("notes")
    with pytest.raises(OutputExists, match=r"not empty: it holds mine\.txt"):
        generate_shards(str(files), str(dest), force_cleanup=True)
    assert (dest / "mine.txt").read_text() == "notes"


def test_a_shard_of_another_size_is_noticed(files: Path, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    manifest = generate_shards(str(files), str(dest))
    path = dest / manifest.parts[0].name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataNotReadable, match="is not the file that the shards at"):
        read(dest)


def test_pictures_in_shards(tmp_path: Path) -> None:
    src, dest = tmp_path / "src", tmp_path / "dest"
    src.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (5, 4, 6, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(src / f"{i}.png")
    generate_shards(str(src), str(dest))
    table = DataConnector.from_shards(str(dest), "image").to_arrow()
    np.testing.assert_array_equal(table.column("image").combine_chunks().to_numpy_ndarray(), pixels)
    small = DataConnector.from_shards(str(dest), "image", options={"size": (2, 2), "mode": "L"})
    assert small.schema.field("image").type.shape == [2, 2, 1]
    assert small.to_arrow().num_rows == 5
    (src / "3.png").write_bytes(b"broken")
    generate_shards(str(src), str(dest), force_cleanup=True)
    with pytest.raises(DataNotReadable, match=r"record batch 0, 3\.png is no picture that can be decoded"):
        DataConnector.from_shards(str(dest), "image").to_arrow()
