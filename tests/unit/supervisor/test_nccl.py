"""Who is named when NCCL's watchdog ends a process that waited too long."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpools.contract.ends import Exit
from mlpools.errors import PeerLost, WorkerCrashed
from mlpools.supervisor.nccl import waited
from mlpools.train.pytorch.failures import of_command
from mlpools.train.script.program import judge
from tests.support.pods import Pods, fake_worker, task

TIMED_OUT = (
    "[rank0]:[E1123 14:13:41 ProcessGroupNCCL.cpp:1] [Rank 0] Watchdog caught collective operation timeout: "
    "WorkNCCL(SeqNum=7, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600052 "
    "milliseconds before timing out.\n"
)
NEVER = (
    "\t - [0] Timeout at collective: ALLREDUCE, #7\n"
    "\t - To our best knowledge, ranks [1, 3] are the lagging ranks that caused this timeout. They never "
    "joined any collectives\n"
)
BEHIND = (
    "\t - To our best knowledge, the lagging/dead/mismatched ranks that caused the desync are:\n"
    "\t     [2] finished collective #6, but didn't join collective #7 (count from 1)\n"
    "\t - Snapshot of ranks' latest states:\n"
    "\t   #7 started ranks:\n\t     [0, 1] started ALLREDUCE\n"
)
#: All have joined: the network is at fault, or a GPU.
JOINED = "\t   - [0, 1] joined but didn't finish collective #7 (count from 1)\n"


@pytest.mark.parametrize(
    ("report", "whom"),
    [(NEVER, "ranks 1, 3"), (BEHIND, "rank 2"), (JOINED, "rank 1"), ("", "other ranks")],
)
def test_who_did_not_come_is_named(report: str, whom: str) -> None:
    said = f"Rank 0 waited 600 s in ALLREDUCE for {whom}; NCCL's watchdog ended it."
    assert waited(TIMED_OUT + report, 0) == said


def test_without_the_watchdog_s_words_nothing_is_said() -> None:
    assert waited(NEVER, 0) == ""


@pytest.mark.parametrize(
    ("words", "code"), [(TIMED_OUT + BEHIND, Exit.PEER_LOST), ("double free or corruption", Exit.SIGNAL)]
)
def test_an_abort_is_the_worker_s_own_unless_it_waited_for_others(
    words: str, code: Exit, tmp_path: Path
) -> None:
    script = f"sys.stderr.write({words!r}); sys.stderr.flush(); os.abort()"
    with Pods(task(tmp_path / "out"), tmp_path / "pods", fake_worker(script)) as pods:
        [final] = pods.wait()
    assert final.code == code
    assert ("for rank 2; NCCL's watchdog" in final.message) is (code == Exit.PEER_LOST)


def test_of_programs_that_are_processes_too() -> None:
    log = TIMED_OUT + BEHIND
    for told in (judge(-6, 0, "train.py", log), of_command("./train", 0, -6, "", log)):
        assert type(told) is PeerLost
        assert "Rank 0 waited 600 s in ALLREDUCE for rank 2" in str(told)
    assert type(judge(-6, 0, "train.py", "double free")) is WorkerCrashed
