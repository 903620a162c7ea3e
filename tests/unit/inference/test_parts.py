"""The part of a shard is there once and whole, whoever dies and whenever, and of two workers one wins."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mlpools.data.writers import commit
from mlpools.data.writers.hashing_file import HashingFile
from mlpools.errors import OutputExists, OutputNotWritable
from mlpools.inference import parts
from mlpools.inference.parts import Place
from mlpools.storage import Location, locate
from tests.support.object_store import Fault, ObjectStore
from tests.support.parts import ROWS, complete, names, publish, read
from tests.support.waiting import PATIENCE

EXPECTED = dict.fromkeys(range(2), ROWS)
PART = "part-000000.parquet"

#: Commits two shards in a forked child, which is killed at its n-th step into the folder's files.
KILLED = """
    import os, signal, sys
    os.fsync = lambda _: None  # what a killed process wrote is in the page cache
    from mlpools.inference.parts import Place
    from mlpools.storage import locate
    from tests.support.parts import complete, publish, rows

    rows(0)  # imports pandas once, and not in each child
    WATCHED = {"open", "os.link", "os.remove", "os.rename", "os.scandir", "os.mkdir", "shutil.rmtree"}

    def run(folder, dies_at):
        steps = 0
        def hook(event, arguments):
            nonlocal steps
            if event in WATCHED and any(str(a).startswith(folder) for a in arguments[:2]):
                steps += 1
                if steps == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        place = Place(locate(folder), "parquet", True)
        complete(place, {shard: publish(place, shard) for shard in range(2)})

    for dies_at in range(1, 200):
        child = os.fork()
        if child == 0:
            run(f"{sys.argv[1]}/{dies_at}", dies_at)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
"""


def a_place(target: Path | str, *, once: bool = True) -> Place:
    return Place(locate(target), "parquet", once)


def finish_all(place: Place) -> None:
    """Do as a new attempt does: what is not committed, and the end."""
    done = place.committed(EXPECTED)
    for shard in EXPECTED:
        if shard not in done:
            done[shard] = publish(place, shard, "2-0-bb")
    complete(place, done, attempt=2)


def test_a_kill_at_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    subprocess.run(command, check=True, timeout=PATIENCE, env=environ)
    folders = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(folders) > 20
    begun = 0
    for folder in folders:
        place = a_place(folder)
        if (folder / commit.SUCCESS).exists():
            assert read(place.target) == list(range(2 * ROWS))
            continue
        begun += (folder / PART).exists()
        if (folder / commit.MANIFEST).exists():
            commit.finish(place.target)
        else:
            finish_all(place)
        assert read(place.target) == list(range(2 * ROWS))
        assert {name for name in names(place.target) if name.startswith("part-")} == {
            part.name for part in commit.read_manifest(place.target).parts
        }
    assert begun > 5


def test_of_two_workers_with_one_shard_the_first_wins(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    first = publish(place, 0, "1-0-aa")
    second = publish(place, 0, "1-1-bb", by=7)
    assert second == first
    assert place.committed({0: ROWS}) == {0: first}
    complete(place, {0: second})
    assert read(place.target) == list(range(ROWS))


def test_a_link_whose_answer_was_lost_is_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lossy(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)  # NFS sends the request again

    monkeypatch.setattr(os, "link", lossy)
    place = a_place(tmp_path)
    made = publish(place, 0)
    assert place.committed({0: ROWS}) == {0: made}
    assert not list((tmp_path / parts.TEMPORARY).rglob("*.parquet"))


@pytest.mark.parametrize("form", ["parquet", "arrow", "csv"])
def test_a_part_whose_maker_died_before_its_note_is_counted_anew(tmp_path: Path, form: str) -> None:
    place = Place(locate(tmp_path), form, once=True)  # type: ignore[arg-type]
    made = publish(place, 0)
    place.target.child(parts.NOTES).delete_tree()
    [found] = place.committed({0: ROWS}).values()
    assert (found.part.rows, found.read, found.bad) == (ROWS, ROWS, 0)
    assert (found.part.sha256, found.part.bytes) == (made.part.sha256, made.part.bytes)
    place.target.child(parts.NOTES).delete_tree()
    assert publish(place, 0, "2-0-bb", by=3).part.sha256 == made.part.sha256


def test_a_note_of_another_file_is_not_believed(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    publish(place, 0)
    other = a_place(tmp_path / "other")
    longer = publish(other, 0).part
    data = (tmp_path / PART).read_bytes()
    (tmp_path / PART).write_bytes(data + b"more")
    with pytest.raises(Exception, match=r"Parquet|magic"):
        place.committed({0: ROWS})
    assert longer.bytes == len(data)


def test_a_part_that_comes_after_the_end_is_taken_back(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    complete(place, {0: publish(place, 0)})
    with pytest.raises(OutputExists, match="finished by another"):
        publish(place, 1)
    assert names(place.target) == {PART, commit.MANIFEST, commit.SUCCESS}


def test_where_files_cannot_be_made_once_the_manifest_says_which_count(tmp_path: Path) -> None:
    place = a_place(tmp_path, once=False)
    first, second = publish(place, 0, "1-0-aa"), publish(place, 0, "1-1-bb", by=7)
    assert first.part.name != second.part.name
    complete(place, {0: second})
    assert read(place.target) == list(range(7 * ROWS, 8 * ROWS))
    assert {name for name in names(place.target) if name.startswith("part-")} == {second.part.name}
    fresh = a_place(tmp_path / "fresh", once=False)
    publish(fresh, 0, "1-0-aa")
    publish(fresh, 0, "1-1-bb")
    assert len(fresh.committed({0: ROWS})) == 1


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: HashingFile, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = a_place(tmp_path)
    monkeypatch.setattr(HashingFile, "write", full)
    with pytest.raises(OutputNotWritable, match="No space left on device"):
        publish(place, 0)
    assert place.committed({0: ROWS}) == {}


def test_a_part_of_another_input_is_refused(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    publish(place, 9)
    with pytest.raises(OutputNotWritable, match="does not have"):
        place.committed({0: ROWS})


class TestInAStore:
    target = Location("s3://bucket/out")

    def test_a_lost_answer_is_a_success(self, object_store: ObjectStore) -> None:
        object_store.faults = [Fault("PUT", lose_answer=True)]
        place = a_place(self.target.url)
        made = publish(place, 0)
        assert place.committed({0: ROWS}) == {0: made}
        complete(place, {0: made})
        assert read(self.target) == list(range(ROWS))

    @pytest.mark.parametrize("status", [409, 503])
    def test_a_conflict_or_a_busy_store_is_asked_again(self, object_store: ObjectStore, status: int) -> None:
        object_store.faults = [Fault("PUT", status=status, code="Again")]
        place = a_place(self.target.url)
        made = publish(place, 0)
        assert place.committed({0: ROWS}) == {0: made}

    def test_who_comes_second_is_refused_by_the_store(self, object_store: ObjectStore) -> None:
        place = a_place(self.target.url)
        first = publish(place, 0, "1-0-aa")
        assert publish(place, 0, "1-1-bb", by=7) == first
        complete(place, {0: first})
        assert read(self.target) == list(range(ROWS))

    def test_a_store_that_replaces_is_found_out(self, object_store: ObjectStore) -> None:
        assert self.target.honours_once()
        object_store.honours_once = False
        assert not self.target.honours_once()
