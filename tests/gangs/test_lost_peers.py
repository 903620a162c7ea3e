"""The watchdog between supervisors: a lost rank ends the others quickly, a normal end never does."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.contract.ends import Exit
from mlpools.supervisor.roll import LOST_SECONDS, Beat, Roll
from tests.support.pods import Pods, fake_worker, task, wait_for

STOPPABLE = f"signal.signal(signal.SIGTERM, lambda *_: end({Exit.PREEMPTED}, 'Saved.'))\n"

WAIT = """
def wait():
    while not os.path.exists(sys.argv[1]): time.sleep(0.01)
"""


def beat(rank: int, **changes: object) -> Beat:
    return Beat(uid="u", attempt=1, rank=rank, **changes)  # type: ignore[arg-type]


def formed(pods: Pods) -> bool:
    return all("the gang is complete" in pod.output() for pod in pods.pods)


def test_nobody_is_lost_before_the_gang_has_formed() -> None:
    roll = Roll(beat(0), 3)
    assert not roll.hear(beat(1), 0.0).formed
    assert not roll.verdict(1_000.0).lost


def test_silence_after_forming_is_a_loss() -> None:
    roll = Roll(beat(0), 3)
    roll.hear(beat(1), 0.0)
    assert roll.hear(beat(2), 0.0).formed
    assert not roll.hear(beat(2), LOST_SECONDS).lost
    assert roll.hear(beat(2), LOST_SECONDS + 0.1).lost.startswith("Rank 1 has not been heard")


@pytest.mark.parametrize("code", [Exit.DONE, Exit.PREEMPTED])
def test_silence_after_a_goodbye_is_none(code: Exit) -> None:
    roll = Roll(beat(0), 2)
    roll.hear(beat(1), 0.0)
    roll.hear(beat(1, code=code), 1.0)
    assert not roll.verdict(1_000.0).lost


def test_the_cause_is_named_and_not_the_ranks_that_died_of_it() -> None:
    roll = Roll(beat(0), 3)
    roll.hear(beat(2, code=Exit.PEER_LOST, message="Another rank does not answer."), 0.0)
    assert roll.verdict(0.0).lost.startswith("Rank 2")
    verdict = roll.hear(beat(1, code=Exit.SIGNAL, message="killed by SIGSEGV"), 0.1)
    assert verdict.lost == "Rank 1 ended: killed by SIGSEGV"


def test_a_rank_that_names_itself_is_not_named_twice() -> None:
    for rank, message in {
        0: "Rank 0: main.py ended.",
        1: "Rank 1 ran out of disk.",
        2: "Rank 12 is gone.",
    }.items():
        roll = Roll(beat(3), 4)
        named = message if rank < 2 else f"Rank 2 ended: {message}"
        assert roll.hear(beat(rank, code=Exit.USER_CODE, message=message), 0.0).lost == named


def test_a_bad_end_counts_before_the_gang_has_formed() -> None:
    roll = Roll(beat(0), 3)
    assert (
        roll.hear(beat(1, code=Exit.DATA_NOT_READABLE, message="No file."), 0.0).lost
        == "Rank 1 ended: No file."
    )


def test_beats_of_another_attempt_are_not_counted() -> None:
    roll = Roll(beat(0), 2)
    assert not roll.hear(Beat(uid="u", attempt=2, rank=1), 0.0).formed
    assert not roll.hear(Beat(uid="v", attempt=1, rank=1), 0.0).formed
    assert not roll.hear(beat(7), 0.0).formed


def test_rank_0_stays_until_the_others_know() -> None:
    roll = Roll(beat(0), 3)
    roll.hear(beat(1), 0.0)
    roll.hear(beat(2), 0.0)
    roll.hear(beat(0, code=Exit.DONE), 1.0)
    assert not roll.all_told(1.0, wait_for_ends=True)
    assert roll.hear(beat(1), 2.0).done
    assert not roll.all_told(2.0, wait_for_ends=True)
    roll.hear(beat(1, code=Exit.DONE), 3.0)
    roll.hear(beat(2, code=Exit.DONE), 3.0)
    assert roll.all_told(3.0, wait_for_ends=True)


def test_rank_0_does_not_wait_for_the_dead() -> None:
    roll = Roll(beat(0), 2)
    roll.hear(beat(1), 0.0)
    roll.hear(beat(0, code=Exit.SIGNAL, message="x"), 1.0)
    assert not roll.all_told(1.0, wait_for_ends=False)
    assert roll.all_told(LOST_SECONDS + 1, wait_for_ends=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.floats(0.05, 1.5), st.booleans()), max_size=40))
def test_a_gang_that_beats_in_time_and_ends_well_is_never_lost(events: list[tuple[int, float, bool]]) -> None:
    """Any interleaving of timely beats and goodbyes: each rank is heard at least every six seconds."""
    roll, now, ended = Roll(beat(0), 4), 0.0, set[int]()
    for rank, pause, goodbye in events:
        now += pause
        for other in range(1, 4):
            if other not in ended and (other != rank or not goodbye):
                assert not roll.hear(beat(other), now).lost
        if goodbye and rank not in ended:
            ended.add(rank)
            assert not roll.hear(beat(rank, code=Exit.DONE), now).lost


def test_the_loss_of_a_machine_ends_the_others(tmp_path: Path) -> None:
    """Of rank 1 in one gang and of rank 0 in another, at the same time to save the wait."""
    command = fake_worker("time.sleep(600)")
    with (
        Pods(task(tmp_path / "out-a", nodes=3), tmp_path / "a", command) as a,
        Pods(task(tmp_path / "out-b", nodes=3), tmp_path / "b", command) as b,
    ):
        wait_for(lambda: formed(a) and formed(b))
        a[1].kill()
        b[0].kill()
        finals_a, finals_b = a.wait(), b.wait()
    assert [(final.rank, final.code) for final in finals_a] == [(0, Exit.PEER_LOST), (2, Exit.PEER_LOST)]
    assert [(final.rank, final.code) for final in finals_b] == [(1, Exit.PEER_LOST), (2, Exit.PEER_LOST)]
    assert all("Rank 1 has not been heard" in final.message for final in finals_a)
    assert all("Rank 0 has not been heard" in final.message for final in finals_b)


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_rank_that_fails_says_so_and_the_others_end_at_once(tmp_path: Path, culprit: int) -> None:
    script = f"if RANK == {culprit}: wait(); os.kill(os.getpid(), signal.SIGSEGV)\ntime.sleep(600)"
    command = [*fake_worker(WAIT + script), str(tmp_path / "go")]
    with Pods(task(tmp_path / "out", nodes=3), tmp_path / "pods", command) as pods:
        wait_for(lambda: formed(pods))
        (tmp_path / "go").touch()
        finals = pods.wait()
    codes = {final.rank: final.code for final in finals}
    assert codes == {rank: Exit.SIGNAL if rank == culprit else Exit.PEER_LOST for rank in range(3)}
    assert all("SIGSEGV" in final.message and f"ank {culprit}" in final.message for final in finals)


def test_ranks_that_end_well_at_different_times_lose_nobody(tmp_path: Path) -> None:
    """Three gangs at once, in each another rank is late, but less than the silence that counts as a loss."""
    gangs = []
    with contextlib.ExitStack() as stack:
        for late in range(3):
            command = fake_worker(f"time.sleep(1.3 if RANK == {late} else 0.2); end(0)")
            work = task(tmp_path / f"out-{late}", nodes=3)
            gangs.append(stack.enter_context(Pods(work, tmp_path / f"pods-{late}", command)))
        for pods in gangs:
            assert [final.code for final in pods.wait()] == [Exit.DONE] * 3


def test_a_stop_of_one_rank_stops_all(tmp_path: Path) -> None:
    script = STOPPABLE + "note(step=1); time.sleep(600)"
    with Pods(task(tmp_path / "out", nodes=3), tmp_path / "pods", fake_worker(script)) as pods:
        wait_for(lambda: formed(pods) and all(pod.step() for pod in pods.pods))
        pods[2].process.terminate()
        finals = pods.wait()
    assert [final.code for final in finals] == [Exit.PREEMPTED] * 3


def test_ranks_without_work_end_with_a_rank_0_that_is_done(tmp_path: Path) -> None:
    """Rank 0 found the job's own committed result; the others wait for a rendezvous that never comes."""
    command = [*fake_worker(WAIT + "if RANK == 0: wait(); end(0)\ntime.sleep(600)"), str(tmp_path / "go")]
    with Pods(task(tmp_path / "out", nodes=2), tmp_path / "pods", command) as pods:
        wait_for(lambda: formed(pods))
        (tmp_path / "go").touch()
        assert [final.code for final in pods.wait()] == [Exit.DONE] * 2


def test_a_peer_that_died_while_stopping_does_not_hide_the_stop(tmp_path: Path) -> None:
    """Rank 1's framework notices rank 0's end before its own signal arrives."""
    script = STOPPABLE + (
        "note(step=1)\n"
        f"if RANK == 1: signal.signal(signal.SIGTERM, lambda *_: end({Exit.PEER_LOST}, 'A rank is gone.'))\n"
        "time.sleep(600)"
    )
    with Pods(task(tmp_path / "out", nodes=2), tmp_path / "pods", fake_worker(script)) as pods:
        wait_for(lambda: formed(pods) and all(pod.step() for pod in pods.pods))
        pods[0].process.terminate()
        assert [final.code for final in pods.wait()] == [Exit.PREEMPTED] * 2
