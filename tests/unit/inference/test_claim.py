"""An output belongs to one job and is of one run; an old result goes once, and no shards of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlpools.data.writers import commit
from mlpools.errors import CheckpointMismatch, OutputExists, OutputNotWritable, PeerLost
from mlpools.inference.claim import RUN, Claim
from mlpools.inference.parts import Place, clear_leftovers
from mlpools.storage import locate
from mlpools.train.owner import OWNER
from tests.support.object_store import Fault, ObjectStore
from tests.support.parts import a_task, complete, names, publish

RUN_FACTS: dict[str, Any] = {"input": "abc", "modelDigest": "123"}


def claim(folder: Path, **task: Any) -> Claim:
    return Claim(a_task(str(folder), **task), locate(folder))


def opened(folder: Path, run: dict[str, Any] = RUN_FACTS, **task: Any) -> Claim:
    found = claim(folder, **task)
    assert found.take() is None
    found.agree(run)
    assert found.open(run) is None
    return found


def a_result(folder: Path, **task: Any) -> None:
    opened(folder, **task)
    place = Place(locate(folder), "parquet", once=True)
    complete(place, {0: publish(place, 0)}, **task)


def test_an_empty_place_or_one_with_logs_is_taken(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/old.log").write_text("x")
    opened(tmp_path)
    assert names(locate(tmp_path)) == {OWNER, RUN, "logs/old.log"}


def test_a_place_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious.csv").write_text("x")
    with pytest.raises(OutputExists, match=r"precious\.csv"):
        claim(tmp_path).take()
    with pytest.raises(OutputExists, match="nothing that can be resumed"):
        claim(tmp_path, mode="Resume").take()


def test_what_a_killed_claim_leaves_on_a_volume_is_nobodys(tmp_path: Path) -> None:
    left = tmp_path / f".{OWNER}.4711.0123abcd"
    left.write_text("{")
    opened(tmp_path, attempt=2)
    clear_leftovers(locate(tmp_path), notes=True)
    assert not left.exists()


def test_another_jobs_result_is_refused_and_named(tmp_path: Path) -> None:
    a_result(tmp_path)
    with pytest.raises(OutputExists, match="team/scores"):
        claim(tmp_path, uid="other").take()


def test_an_own_result_is_found_again(tmp_path: Path) -> None:
    a_result(tmp_path)
    found = claim(tmp_path, attempt=2).take()
    assert found is not None
    assert len(found.parts) == 1


def test_a_result_without_its_last_file_is_finished(tmp_path: Path) -> None:
    a_result(tmp_path)
    (tmp_path / commit.SUCCESS).unlink()
    assert claim(tmp_path, attempt=2).take() is not None
    assert (tmp_path / commit.SUCCESS).exists()


def test_an_old_result_stays_until_the_new_model_is_known_to_fit(tmp_path: Path) -> None:
    a_result(tmp_path, uid="old")
    fresh = claim(tmp_path, mode="Overwrite")
    assert fresh.take() is None
    fresh.agree({"input": "another"})
    commit.read_manifest(locate(tmp_path))
    fresh.open({"input": "another"})
    assert names(locate(tmp_path)) == {OWNER, RUN}


def test_a_restart_never_deletes_its_own_shards(tmp_path: Path) -> None:
    a_result(tmp_path, uid="old")
    opened(tmp_path, mode="Overwrite")
    publish(Place(locate(tmp_path), "parquet", once=True), 5)
    opened(tmp_path, mode="Overwrite", attempt=2)
    assert "part-000005.parquet" in names(locate(tmp_path))


def test_a_deletion_that_was_cut_off_is_completed(tmp_path: Path) -> None:
    a_result(tmp_path, uid="old")
    (tmp_path / OWNER).write_text(json.dumps({"uid": "uid", "attempt": 1, "clearing": True}))
    (tmp_path / commit.SUCCESS).unlink()
    opened(tmp_path, mode="Overwrite", attempt=2)
    assert names(locate(tmp_path)) == {OWNER, RUN}


def test_only_an_equal_run_resumes(tmp_path: Path) -> None:
    opened(tmp_path, uid="old")
    publish(Place(locate(tmp_path), "parquet", once=True), 5)
    other = claim(tmp_path, mode="Resume")
    other.take()
    with pytest.raises(CheckpointMismatch, match="input was"):
        other.agree({"input": "changed", "modelDigest": "123"})
    opened(tmp_path, mode="Resume")
    assert "part-000005.parquet" in names(locate(tmp_path))


def test_a_new_attempt_with_other_input_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    later = claim(tmp_path, attempt=2)
    later.take()
    with pytest.raises(CheckpointMismatch, match="modelDigest"):
        later.agree({"input": "abc", "modelDigest": "other"})


def test_a_complete_result_is_resumed_as_it_is(tmp_path: Path) -> None:
    a_result(tmp_path, uid="old")
    again = claim(tmp_path, mode="Resume")
    assert again.take() is None
    again.agree(RUN_FACTS)
    assert again.open(RUN_FACTS) is not None


def test_an_older_attempt_sees_that_it_was_replaced(tmp_path: Path) -> None:
    old = opened(tmp_path)
    old.check()
    opened(tmp_path, attempt=2)
    with pytest.raises(PeerLost, match="Attempt 2"):
        old.check()
    with pytest.raises(PeerLost, match="Attempt 2"):
        claim(tmp_path).take()


def test_an_owner_that_cannot_be_read_is_not_another_job(object_store: ObjectStore) -> None:
    target = locate("s3://bucket/out")
    held = Claim(a_task(target.url), target)
    held.take()
    held.open(RUN_FACTS)
    object_store.faults = [Fault(times=100, status=403, code="ExpiredToken")]
    with pytest.raises(OutputNotWritable, match="credentials have expired"):
        held.check()


def test_a_place_that_another_job_took_is_left_alone(tmp_path: Path) -> None:
    old = opened(tmp_path)
    opened(tmp_path, uid="other", mode="Overwrite")
    with pytest.raises(OutputExists, match="took output"):
        old.check()


def test_a_place_where_nothing_was_written_is_given_back(tmp_path: Path) -> None:
    for attempt in (1, 2):
        early = claim(tmp_path, attempt=attempt)
        early.take()
        assert names(locate(tmp_path)) == {OWNER}
    early.release()
    assert names(locate(tmp_path)) == set()
    assert claim(tmp_path, uid="other").take() is None


def test_a_place_is_not_given_back_by_who_found_something_there_or_does_not_have_it(tmp_path: Path) -> None:
    a_result(tmp_path, uid="old")
    before = names(locate(tmp_path))
    late = claim(tmp_path, mode="Overwrite")
    late.take()
    late.release()
    assert names(locate(tmp_path)) == before
    lost = claim(tmp_path / "new")
    lost.take()
    opened(tmp_path / "new", uid="other", mode="Overwrite")
    lost.release()
    assert names(locate(tmp_path / "new")) == {OWNER, RUN}
