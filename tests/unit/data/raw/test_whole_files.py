"""Files that are one row each: bytes, texts and pictures."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlpools.data import DataConnector, ShardedDataConnector, packs, reader
from mlpools.data.plan import Plan
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.gang import Gang


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for i in range(10):
        folder = tmp_path / f"{'ab'[i % 2]}"
        folder.mkdir(exist_ok=True)
        (folder / f"{i}.bin").write_bytes(bytes([i]) * (i * 100))
    (tmp_path / "a" / "notes.txt").write_text("größer\n")
    return tmp_path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 255, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        np.save(tmp_path / f"{i}.npy", pixels)
    return tmp_path


def test_bytes_and_paths(files: Path) -> None:
    connector = DataConnector.from_binary_files(str(files), file_pattern="*.bin", include_paths=True)
    rows = connector.to_arrow().to_pylist()
    assert connector.num_rows == 10
    expected = sorted(files.glob("*/*.bin"))
    assert [row["path"] for row in rows] == [str(path) for path in expected]
    assert [row["bytes"] for row in rows] == [path.read_bytes() for path in expected]
    paths = DataConnector.from_binary_files(str(files), columns=["path"])
    assert paths.to_arrow().column_names == ["path"]
    assert paths.num_rows == 11


def test_patterns_filter_and_limit_choose_files(files: Path) -> None:
    def chosen(**arguments: object) -> list[str]:
        connector = DataConnector.from_binary_files(str(files), columns=["path"], **arguments)  # type: ignore[arg-type]
        return [Path(path).name for path in connector.to_arrow().column("path").to_pylist()]

    assert chosen(file_pattern="b/*.bin") == ["1.bin", "3.bin", "5.bin", "7.bin", "9.bin"]
    assert chosen(file_pattern=["1.bin", "*.txt"]) == ["notes.txt", "1.bin"]
    assert chosen(filter="path like '%/b/%'", limit=2) == ["1.bin", "3.bin"]
    with pytest.raises(DataNotReadable, match=r"None of the 11 files of .* fits file_pattern \*\.jpg; one"):
        chosen(file_pattern="*.jpg")
    with pytest.raises(DataNotReadable, match="No file passes the filter"):
        chosen(filter="path = 'x'")
    with pytest.raises(InvalidSpec, match="can only look at path"):
        chosen(filter="bytes = 'x'")


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_shards_and_plans_of_packs(files: Path, monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    monkeypatch.setattr(packs, "_PACK_FILES", 4)
    monkeypatch.setattr(packs, "_PACK_BYTES", 1500)
    source = DataConnector.from_binary_files(str(files)).data_sources[0]
    plan = source.plan()  # type: ignore[union-attr]
    assert [file.units[0].rows for file in plan.files] == plan.group_rows
    assert 3 <= len(plan.files) < 11
    again = Plan.from_json(plan.to_json())
    assert again.files == plan.files
    assert again.schema.equals(plan.schema)
    assert again.fingerprint() == plan.fingerprint()
    sharded = ShardedDataConnector.from_sources(source)
    shards = [
        pickle.loads(pickle.dumps(sharded)).get_shard(Gang(rank, world_size)) for rank in range(world_size)
    ]
    values = [value for shard in shards for value in shard.to_arrow().column("bytes").to_pylist()]
    assert values == DataConnector.from_sources(source).to_arrow().column("bytes").to_pylist()
    assert len(values) == 11


def test_the_fingerprint_sees_names_sizes_and_changes(files: Path) -> None:
    def fingerprint() -> str:
        source = DataConnector.from_binary_files(str(files)).data_sources[0]
        return source.plan().fingerprint()  # type: ignore[union-attr]

    seen = {fingerprint()}
    assert {fingerprint()} == seen
    os.utime(files / "a" / "2.bin", (1, 1))
    seen.add(fingerprint())
    (files / "a" / "2.bin").rename(files / "a" / "3.bin")
    seen.add(fingerprint())
    assert len(seen) == 3


def test_texts(files: Path) -> None:
    connector = DataConnector.from_text_files(str(files), whole_files=True)
    assert connector.to_arrow().to_pydict() == {"text": ["größer\n"]}
    latin = DataConnector.from_text_files(
        str(files / "a" / "notes.txt"), whole_files=True, encoding="latin-1"
    )
    assert latin.to_arrow().to_pydict() == {"text": ["größer\n".encode().decode("latin-1")]}
    broken = DataConnector.from_text_files(str(files / "b" / "9.bin"), whole_files=True)
    (files / "b" / "9.bin").write_bytes(b"ab\xff")
    with pytest.raises(DataNotReadable, match=r"9\.bin was replaced"):
        broken.to_arrow()
    with pytest.raises(DataNotReadable, match=r"9\.bin is no utf-8 text \(byte 2\); say its encoding"):
        DataConnector.from_text_files(str(files / "b" / "9.bin"), whole_files=True).to_arrow()
    with pytest.raises(InvalidSpec, match="there is no encoding 'utf-9'"):
        DataConnector.from_text_files(str(files), whole_files=True, encoding="utf-9")


def test_a_file_that_vanished_is_named(files: Path) -> None:
    connector = DataConnector.from_binary_files(str(files))
    (files / "a" / "4.bin").unlink()
    with pytest.raises(DataNotReadable, match=r"4\.bin is not there"):
        connector.to_arrow()


def test_pictures_come_as_their_pixels(pictures: Path) -> None:
    connector = DataConnector.from_images(str(pictures), include_paths=True)
    table = connector.to_arrow()
    assert table.num_rows == 6
    images = table.column("image").combine_chunks().to_numpy_ndarray()
    assert images.dtype == np.uint8
    for image, path in zip(images, table.column("path").to_pylist(), strict=True):
        np.testing.assert_array_equal(image, np.load(path.replace(".png", ".npy")))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_pictures_are_scaled_and_converted(pictures: Path, mode: str, channels: int) -> None:
    Image.new("P", (60, 80), 7).save(pictures / "large.gif")
    Image.new("L", (640, 480), 128).save(pictures / "photo.jpg")
    connector = DataConnector.from_images(str(pictures), image_size=(8, 6), image_mode=mode)
    images = connector.to_arrow().column("image").combine_chunks().to_numpy_ndarray()
    assert images.shape == (8, 8, 6, channels)
    assert abs(int(images[-1][0][0][0]) - 128) <= 1
    assert connector.schema.field("image").type.shape == [8, 6, channels]


def test_a_broken_picture_is_named(pictures: Path) -> None:
    good = (pictures / "3.png").read_bytes()
    broken = {
        "cut": good[: len(good) // 2],
        "text": b"no picture",
        "empty": b"",
        "flipped": good[:60] + b"\0" * 30,
    }
    for name, data in broken.items():
        (pictures / "3.png").write_bytes(data)
        with pytest.raises(DataNotReadable, match=r"3\.png is no picture that can be decoded: .*\.$"):
            DataConnector.from_images(str(pictures), image_size=(4, 4)).to_arrow()
        (pictures / "3.png").write_bytes(good)
        (pictures / "0.png").write_bytes(data)
        with pytest.raises(DataNotReadable, match=r"0\.png is no picture"):
            DataConnector.from_images(str(pictures)).to_arrow()
        (pictures / "0.png").write_bytes(good)
        assert name


def test_pictures_of_several_sizes_need_a_size(pictures: Path) -> None:
    Image.new("RGB", (7, 9)).save(pictures / "9.png")
    connector = DataConnector.from_images(str(pictures))
    with pytest.raises(
        DataNotReadable, match=r"9\.png has 9 x 7 pixels, and the first picture has 4 x 5; give"
    ):
        connector.to_arrow()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"image_mode": "HSV"}, "image_mode is one of L, RGB, RGBA, not 'HSV'"),
        ({"image_size": (0, 4)}, r"image_size is \(height, width\)"),
        ({"image_size": 4}, r"image_size is \(height, width\)"),
    ],
)
def test_arguments_that_make_no_sense(pictures: Path, arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence):
        DataConnector.from_images(str(pictures), **arguments)  # type: ignore[arg-type]


def test_pieces_fit_the_budget(pictures: Path) -> None:
    source = DataConnector.from_images(str(pictures), image_size=(100, 100)).data_sources[0]
    tables = list(reader.read(source.plan(), None, ["image"], budget=4 * 70_000))  # type: ignore[union-attr]
    assert [table.num_rows for table in tables] == [2, 2, 2]
