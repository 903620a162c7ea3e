"""A result is there whole or not at all, whoever dies and whenever, and of two writers one wins."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest, Part
from mlpools.data.writers.parts import PartsWriter
from mlpools.errors import DataNotReadable, OutputExists, OutputNotWritable
from mlpools.storage import Location, locate
from tests.support.waiting import PATIENCE

SCHEMA = pa.schema({"x": pa.int64()})
ROWS = pa.table({"x": range(50)}, schema=SCHEMA)

#: Writes a result in a forked child, which is killed at its n-th step into the folder's files.
KILLED = """
    import os, signal, sys
    import pyarrow as pa
    from mlpools.data.writers import commit
    from mlpools.data.writers.parts import PartsWriter
    from mlpools.storage import locate

    rows = pa.table({"x": pa.array(list(range(50)), pa.int64())})

    def run(folder, dies_at):
        steps = 0
        def hook(event, arguments):
            nonlocal steps
            if event in WATCHED and any(str(a).startswith(folder) for a in arguments[:2]):
                steps += 1
                if steps == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        target = locate(folder)
        attempt = commit.begin(target)
        with PartsWriter(target, rows.schema, attempt=attempt, part_rows=25) as writer:
            writer.write(rows)
        commit.commit(target, writer.parts, rows.schema, attempt=attempt)

    WATCHED = {"open", "os.link", "os.remove", "os.rename", "os.scandir", "os.mkdir"}
    for dies_at in range(1, 200):
        child = os.fork()
        if child == 0:
            run(f"{sys.argv[1]}/{dies_at}", dies_at)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
"""


def write(target: Location, attempt: str, rank: int = 0) -> list[Part]:
    with PartsWriter(target, SCHEMA, attempt=attempt, rank=rank, part_rows=25) as writer:
        writer.write(ROWS)
    return writer.parts


def finish(target: Location, attempt: str, parts: list[Part]) -> Manifest:
    return commit.commit(target, parts, SCHEMA, attempt=attempt)


def rows(target: Location) -> int:
    manifest = commit.read_manifest(target)
    commit.verify(target, manifest)
    return sum(pq.read_table(target.child(part.name).url).num_rows for part in manifest.parts)


def names(target: Location) -> set[str]:
    assert target.local is not None
    return {path.name for path in target.local.iterdir()}


def whole(manifest: Manifest) -> set[str]:
    return {commit.MANIFEST, commit.SUCCESS, *(part.name for part in manifest.parts)}


def test_a_kill_at_any_step_leaves_all_or_nothing(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], check=True, timeout=PATIENCE
    )
    folders = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(folders) > 15
    finished = leftovers = 0
    for folder in folders:
        target = locate(folder)
        if (folder / commit.SUCCESS).exists():
            assert rows(target) == 50
        else:
            with pytest.raises(DataNotReadable, match=r"no finished result|cannot be read"):
                commit.read_manifest(target)
        before = names(target)
        try:
            attempt = commit.begin(target)
        except OutputExists:
            finished += 1
        else:
            leftovers += bool(before)
            finish(target, attempt, write(target, attempt))
        assert rows(target) == 50
        assert names(target) == whole(commit.read_manifest(target))
    assert finished >= 3
    assert leftovers >= 3


def test_one_of_two_writers_wins_and_the_other_leaves_nothing(tmp_path: Path) -> None:
    target = locate(tmp_path)
    slow, fast = commit.begin(target), commit.begin(target)
    slow_parts, fast_parts = write(target, slow), write(target, fast)
    result = finish(target, fast, fast_parts)
    with pytest.raises(OutputExists, match="finished by another writer"):
        finish(target, slow, slow_parts)
    assert commit.read_manifest(target) == result
    assert names(target) == whole(result)
    assert rows(target) == 50


def test_the_loser_that_commits_at_the_same_moment_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's manifest appears after the loser has looked and before it writes its own."""
    target = locate(tmp_path)
    slow, fast = commit.begin(target), commit.begin(target)
    slow_parts, fast_parts = write(target, slow), write(target, fast)
    check = commit._check_present

    def overtaken(*arguments: object) -> None:
        monkeypatch.setattr(commit, "_check_present", check)
        finish(target, fast, fast_parts)

    monkeypatch.setattr(commit, "_check_present", overtaken)
    with pytest.raises(OutputExists, match="finished by another writer"):
        finish(target, slow, slow_parts)
    assert names(target) == whole(commit.read_manifest(target))


def test_a_writer_believed_dead_cannot_touch_a_finished_result(tmp_path: Path) -> None:
    target = locate(tmp_path)
    stale = commit.begin(target)
    late = PartsWriter(target, SCHEMA, attempt=stale, part_rows=25)
    fresh = commit.begin(target, alone=True)
    result = finish(target, fresh, write(target, fresh))
    with pytest.raises(OutputExists, match="finished by another writer"):
        late.write(ROWS)
    assert names(target) == whole(result)


def test_leftovers_go_at_once_if_nobody_else_writes(tmp_path: Path) -> None:
    target = locate(tmp_path)
    write(target, commit.begin(target))
    (tmp_path / ".part-00000000-00000-00000.parquet.77.ab").write_bytes(b"half")
    commit.begin(target)
    assert len(names(target)) == 3
    commit.begin(target, alone=True)
    assert names(target) == set()


def test_a_part_that_vanished_before_the_commit_is_named(tmp_path: Path) -> None:
    target = locate(tmp_path)
    attempt = commit.begin(target)
    parts = write(target, attempt)
    (tmp_path / parts[0].name).unlink()
    with pytest.raises(OutputNotWritable, match=parts[0].name):
        finish(target, attempt, parts)
    with pytest.raises(DataNotReadable, match="no finished result"):
        commit.read_manifest(target)


@pytest.mark.parametrize("name", [commit.MANIFEST, commit.SUCCESS])
def test_a_flipped_byte_of_manifest_or_mark_is_seen(tmp_path: Path, name: str) -> None:
    target = locate(tmp_path)
    attempt = commit.begin(target)
    finish(target, attempt, write(target, attempt))
    good = (tmp_path / name).read_bytes()
    for place in range(0, len(good), max(1, len(good) // 40)):
        (tmp_path / name).write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        with pytest.raises(DataNotReadable, match="not what its writer wrote"):
            commit.read_manifest(target)


def test_every_byte_of_a_part_is_verified(tmp_path: Path) -> None:
    target = locate(tmp_path)
    attempt = commit.begin(target)
    result = finish(target, attempt, write(target, attempt))
    path = tmp_path / result.parts[1].name
    good = path.read_bytes()
    path.write_bytes(good[:99] + bytes([good[99] ^ 1]) + good[100:])
    with pytest.raises(DataNotReadable, match=rf"{path.name} was changed"):
        commit.verify(target, result)
    path.write_bytes(good + b"more")
    with pytest.raises(DataNotReadable, match=rf"{path.name} was changed"):
        commit.verify(target, result)
    path.unlink()
    with pytest.raises(DataNotReadable, match=path.name):
        commit.verify(target, result)


def test_a_manifest_of_a_later_release_is_refused() -> None:
    text = Manifest((), SCHEMA, "a").to_json().replace('"version": 1', '"version": 2')
    with pytest.raises(ValueError, match="form 2"):
        Manifest.from_json(text)
