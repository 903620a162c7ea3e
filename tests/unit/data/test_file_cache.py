"""What was fetched once is not fetched again, and never are other bytes read than those of the object."""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import multiprocessing
import os
import pickle
import random
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlpools import budgets
from mlpools.data.cache import entry
from mlpools.data.cache.cached_file import open_cached
from mlpools.data.cache.entry import BLOCK_BYTES, Entry
from mlpools.data.cache.files import FileCache
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.storage import FileInfo, locate
from tests.support.object_store import Fault, ObjectStore
from tests.support.waiting import PATIENCE

CONTENT = random.Random(1).randbytes(10 * BLOCK_BYTES + 12_345)
MIB = 1 << 20
T = TypeVar("T")


@pytest.fixture
def cache(object_store: ObjectStore, tmp_path: Path) -> FileCache:
    object_store.objects.update({"bucket/a": CONTENT, "bucket/b": CONTENT[::-1]})
    return FileCache(tmp_path / "cache")


@pytest.fixture
def a(object_store: ObjectStore, cache: FileCache) -> FileInfo:
    return locate("s3://bucket/a").info()


@pytest.fixture
def b(object_store: ObjectStore, cache: FileCache) -> FileInfo:
    return locate("s3://bucket/b").info()


def anew(cache: FileCache) -> FileCache:
    """The cache as another process has it."""
    return FileCache(cache.folder, cache.share, cache.interval)


def read(info: FileInfo, cache: FileCache, start: int = 0, stop: int | None = None) -> bytes:
    with open_cached(info, cache) as file:
        content: bytes = file.read_at((info.size if stop is None else stop) - start, start)
    return content


def fetched(store: ObjectStore) -> list[tuple[int, int]]:
    """The ranges that the store was asked for since the last look, sorted."""
    asked = [it.range.removeprefix("bytes=").split("-") for it in store.asked if it.method == "GET"]
    store.asked.clear()
    return sorted((int(first), int(last) + 1) for first, last in asked)


def only(cache: FileCache) -> Path:
    [path] = [path for path in cache.folder.iterdir() if not path.name.startswith(".")]
    return path


def used(cache: FileCache) -> int:
    return sum(path.stat().st_blocks * 512 for path in cache.folder.glob("*/data"))


def test_a_second_read_asks_nobody(object_store: ObjectStore, cache: FileCache, a: FileInfo) -> None:
    assert read(a, cache) == CONTENT
    assert fetched(object_store)
    assert read(a, cache) == read(a, anew(cache)) == CONTENT
    assert fetched(object_store) == []


def test_only_the_blocks_of_a_range_are_fetched(
    object_store: ObjectStore, cache: FileCache, a: FileInfo
) -> None:
    start, stop = 3 * BLOCK_BYTES + 5, 4 * BLOCK_BYTES + 7
    assert read(a, cache, start, stop) == CONTENT[start:stop]
    assert fetched(object_store) == [(3 * BLOCK_BYTES, 5 * BLOCK_BYTES)]
    assert read(a, cache, 0, 6 * BLOCK_BYTES) == CONTENT[: 6 * BLOCK_BYTES]
    assert fetched(object_store) == [(0, 3 * BLOCK_BYTES), (5 * BLOCK_BYTES, 6 * BLOCK_BYTES)]


@settings(max_examples=15, suppress_health_check=[*HealthCheck])
@given(st.lists(st.tuples(st.integers(0, len(CONTENT)), st.integers(0, 3 * BLOCK_BYTES)), max_size=6))
def test_any_reads_give_the_object_s_bytes(
    object_store: ObjectStore, cache: FileCache, a: FileInfo, wanted: list[tuple[int, int]]
) -> None:
    with open_cached(a, anew(cache)) as file:
        file.prefetch([(start, min(start + size, len(CONTENT))) for start, size in wanted[::2]])
        for start, size in wanted:
            assert file.read_at(size, start) == CONTENT[start : start + size]


def test_a_changed_object_is_read_anew(object_store: ObjectStore, cache: FileCache, a: FileInfo) -> None:
    read(a, cache)
    object_store.objects["bucket/a"] = CONTENT[::-1]
    with pytest.raises(DataNotReadable, match="was replaced"):
        read(a, FileCache(cache.folder / "other"))
    assert read(locate("s3://bucket/a").info(), cache) == CONTENT[::-1]


@pytest.mark.parametrize("place", [0, 2 * BLOCK_BYTES + 77, len(CONTENT) - 1])
def test_a_flipped_bit_is_noticed(cache: FileCache, a: FileInfo, place: int) -> None:
    read(a, cache)
    with (only(cache) / "data").open("r+b") as file:
        file.seek(place)
        file.write(bytes([CONTENT[place] ^ 4]))
    assert read(a, anew(cache)) == CONTENT


def _cut(path: Path) -> None:
    os.truncate(path / "data", 3 * BLOCK_BYTES)


def _hole(path: Path) -> None:
    os.truncate(path / "data", 3 * BLOCK_BYTES)
    os.truncate(path / "data", len(CONTENT))


def _cut_marks(path: Path) -> None:
    os.truncate(path / "blocks", 16 + 8 * 3 + 2)


def _no_header(path: Path) -> None:
    (path / "blocks").write_bytes(b"")


def _other_header(path: Path) -> None:
    (path / "blocks").write_bytes(b"\0" * 1000)


def _no_data(path: Path) -> None:
    (path / "data").unlink()


@pytest.mark.parametrize("damage", [_cut, _hole, _cut_marks, _no_header, _other_header, _no_data])
def test_a_torn_file_is_noticed(
    object_store: ObjectStore, cache: FileCache, a: FileInfo, damage: Callable[[Path], None]
) -> None:
    read(a, cache)
    damage(only(cache))
    assert read(a, anew(cache)) == CONTENT
    object_store.asked.clear()
    assert read(a, anew(cache)) == CONTENT
    assert fetched(object_store) == []


def test_a_file_that_is_cut_short_under_a_reader_does_not_stop_it(cache: FileCache, a: FileInfo) -> None:
    with open_cached(a, cache) as file:
        assert file.read_at(100, 0) == CONTENT[:100]
        assert file.read_at(len(CONTENT), 0) == CONTENT
        _cut(only(cache))
        assert file.read_at(len(CONTENT), 0) == CONTENT


def _die_at(call: int, cache: FileCache, info: FileInfo) -> None:
    real, calls = os.pwrite, itertools.count(1)

    def pwrite(descriptor: int, content: memoryview, position: int) -> int:
        if next(calls) == call:
            real(descriptor, content[: len(content) // 2], position)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(descriptor, content, position)

    os.pwrite = pwrite  # type: ignore[assignment]
    entry._PIECE_BLOCKS = 4
    read(info, cache)


@pytest.mark.parametrize("call", range(1, 5))
def test_a_process_that_is_killed_between_any_two_writes_leaves_no_wrong_byte(
    object_store: ObjectStore, cache: FileCache, a: FileInfo, call: int
) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_die_at, args=(call, cache, a))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == -signal.SIGKILL
    assert read(a, anew(cache)) == CONTENT


def test_a_child_forked_while_others_are_kept_out_keeps_nobody_out(
    cache: FileCache, a: FileInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copies of the open files would hold the locks for as long as it lives."""
    children: list[int] = []

    def forking(real: Callable[..., T]) -> Callable[..., T]:
        def call(*args: Any) -> T:
            child = os.fork()
            if not child:
                signal.pause()
            children.append(child)
            return real(*args)

        return call

    monkeypatch.setattr(FileCache, "_clear_away", forking(FileCache._clear_away))
    monkeypatch.setattr(Entry, "_write", forking(Entry._write))
    try:
        read(a, cache, 0, 10)
        assert len(children) == 2
        with (cache.folder / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with (only(cache) / "blocks").open("r+b") as blocks:
            whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(blocks, fcntl.F_OFD_SETLK, whole)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _read_all(cache: FileCache, info: FileInfo, queue: multiprocessing.Queue[bool]) -> None:
    queue.put(read(info, cache) == CONTENT)


def test_processes_that_race_fetch_each_block_once(
    object_store: ObjectStore, cache: FileCache, a: FileInfo
) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bool] = context.Queue()
    children = [context.Process(target=_read_all, args=(anew(cache), a, queue)) for _ in range(3)]
    for child in children:
        child.start()
    assert [queue.get(timeout=PATIENCE) for _ in children] == [True] * 3
    for child in children:
        child.join(PATIENCE)
    parts = fetched(object_store)
    assert sum(stop - start for start, stop in parts) == len(CONTENT)


def test_a_full_disk_is_said_once_and_the_rest_is_read_from_the_store(
    cache: FileCache, a: FileInfo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def pwrite(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", pwrite)
    with caplog.at_level(logging.WARNING):
        assert read(a, cache) == CONTENT
        assert read(a, cache, 5, 900_000) == CONTENT[5:900_000]
    assert [record.getMessage() for record in caplog.records] == [
        f"The cache in {cache.folder} is not used for all data: [Errno 28] No space left on device."
    ]


def test_a_folder_that_cannot_be_made(object_store: ObjectStore, a: FileInfo, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert read(a, FileCache(tmp_path / "file" / "cache")) == CONTENT


def test_a_folder_of_somebody_else_is_not_believed(
    cache: FileCache, a: FileInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(a, cache)
    monkeypatch.delenv("MLPOOLS_CACHE")
    monkeypatch.setattr(os, "getuid", lambda: 12_345)
    assert anew(cache).open(a) is None
    monkeypatch.setenv("MLPOOLS_CACHE", str(cache.folder))
    opened = anew(cache).open(a)
    assert opened is not None
    opened.close()


def test_what_was_unused_for_longest_goes(
    object_store: ObjectStore, cache: FileCache, a: FileInfo, b: FileInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.objects["bucket/c"] = CONTENT[1:] + b"c"
    c = locate("s3://bucket/c").info()
    monkeypatch.setattr(budgets, "disk", lambda *_: 12 * MIB)  # of which the cache takes half
    read(a, cache)
    read(b, cache)
    os.utime(cache.folder / _entry_of(cache, a) / "blocks", (time.time() - 5, time.time() - 5))
    os.utime(cache.folder / _entry_of(cache, b) / "blocks", (time.time() - 9, time.time() - 9))
    object_store.asked.clear()
    read(c, anew(cache))
    assert used(cache) <= 6 * MIB
    fetched(object_store)
    read(a, anew(cache))
    assert fetched(object_store) == []
    read(b, anew(cache))
    assert fetched(object_store) != []


def _entry_of(cache: FileCache, info: FileInfo) -> str:
    from mlpools.data.cache import files

    return files._name(info)


def test_a_clock_that_jumped_does_not_keep_an_entry_for_ever(
    object_store: ObjectStore, cache: FileCache, a: FileInfo, b: FileInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.objects["bucket/c"] = CONTENT[1:] + b"c"
    monkeypatch.setattr(budgets, "disk", lambda *_: 12 * MIB)
    read(a, cache)
    os.utime(cache.folder / _entry_of(cache, a) / "blocks", (time.time() + 1e6, time.time() + 1e6))
    read(b, cache)
    read(locate("s3://bucket/c").info(), anew(cache))
    assert not (cache.folder / _entry_of(cache, a)).exists()


def test_an_entry_that_goes_while_it_is_read_is_read_to_its_end(
    object_store: ObjectStore, cache: FileCache, a: FileInfo, b: FileInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "disk", lambda *_: 6 * MIB)
    with open_cached(a, cache) as file:
        half = file.read_at(len(CONTENT) // 2, 0)
        os.utime(cache.folder / _entry_of(cache, a) / "blocks", (1, 1))
        assert read(b, anew(cache)) == CONTENT[::-1]
        assert not (cache.folder / _entry_of(cache, a)).exists()
        object_store.asked.clear()
        assert file.read_at(len(half), 0) == half
        assert fetched(object_store) == []
        assert half + file.read_at(len(CONTENT), len(half)) == CONTENT
    assert read(a, anew(cache)) == CONTENT


def test_an_object_above_the_budget_is_read_and_the_budget_kept(
    cache: FileCache, a: FileInfo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(budgets, "disk", lambda *_: 2 * MIB)
    monkeypatch.setattr(entry, "_PIECE_BLOCKS", 1)
    assert read(a, cache) == CONTENT
    assert 0 < used(cache) <= MIB
    assert "takes all of the room" in caplog.text
    assert read(a, anew(cache)) == CONTENT


def test_a_file_is_closed_while_its_bytes_are_under_way(
    object_store: ObjectStore, cache: FileCache, a: FileInfo, tmp_path: Path
) -> None:
    asked, go = threading.Event(), threading.Event()

    def wait() -> None:
        asked.set()
        go.wait(PATIENCE)

    object_store.faults = [Fault("GET", before=wait)]
    file = open_cached(a, cache)
    file.prefetch([(0, 1000)])
    assert asked.wait(PATIENCE)
    threads = {it for it in threading.enumerate() if it.name.startswith("mlpools-storage")}
    file.close()
    others = [os.open(tmp_path / f"other-{i}", os.O_RDWR | os.O_CREAT) for i in range(30)]
    go.set()
    deadline = time.monotonic() + PATIENCE
    while threads and not (only(cache) / "data").stat().st_blocks and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [os.fstat(other).st_size for other in others] == [0] * len(others)
    for other in others:
        os.close(other)
    assert (only(cache) / "data").stat().st_blocks


def test_remains_are_cleared_away(cache: FileCache, a: FileInfo) -> None:
    cache.folder.mkdir(parents=True)
    for name, age in ((".new-old", 10_000), (".new-young", 0), (".gone-1", 0)):
        (cache.folder / name).mkdir()
        (cache.folder / name / "data").write_bytes(b"x")
        os.utime(cache.folder / name, (time.time() - age, time.time() - age))
    read(a, cache)
    assert sorted(it.name for it in cache.folder.iterdir() if it.name.startswith(".")) == [
        ".lock",
        ".new-young",
    ]


def test_local_files_are_not_copied(cache: FileCache, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(CONTENT)
    with open_cached(locate(tmp_path / "local").info(), cache) as file:
        assert isinstance(file, pa.OSFile)
    assert not cache.folder.exists()


def test_the_words_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPOOLS_CACHE", str(tmp_path))
    cache = FileCache.from_config()
    assert (cache.folder, cache.share, cache.interval) == (tmp_path / "files", 0.5, 30.0)
    config = {"max_disk_pct": 20, "evict_interval_sec": 5, "cache_dir": "/x", "disk_subdir": "y"}
    cache = pickle.loads(pickle.dumps(FileCache.from_config(config)))
    assert (cache.folder, cache.share, cache.interval) == (Path("/x/y"), 0.2, 5.0)
    with pytest.raises(InvalidSpec, match=r"no 'max_disk_pc'\. Did you mean 'max_disk_pct'"):
        FileCache.from_config({"max_disk_pc": 20})
    with pytest.raises(InvalidSpec, match="max_disk_pct in 1…100"):
        FileCache.from_config({"max_disk_pct": 0})
