"""The end of a peer as a rank sees it: by its own error, or by nothing at all until the gang tells it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from mlpools.contract.ends import Exit
from mlpools.contract.tasks import Task
from tests.support.pods import Pods, task, wait_for

#: The rank that goes is in no collective then, so that the other one waits for it.
PROGRAM = """
import os, signal
from pathlib import Path
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
dist.barrier()
Path(os.environ["FOLDER"], os.environ["RANK"]).write_text(str(os.getpid()))
if dist.get_rank() == int(os.environ["GOES"]):
    signal.pause()
dist.all_reduce(torch.ones(1))
"""


class Gang(Pods):
    """Two ranks, of which one goes and the other one waits for it."""

    def __init__(self, work: Task, folder: Path, goes: int) -> None:
        super().__init__(work, folder / "pods", environ={"FOLDER": str(folder), "GOES": str(goes)})
        self._started = [folder / str(rank) for rank in range(2)]
        self._goes = goes

    def leaver(self) -> int:
        """Return the process id of the program that goes, once both of them have begun."""
        wait_for(lambda: all(path.exists() for path in self._started), 150, "both programs")
        return int(self._started[self._goes].read_text())


def work(folder: Path, *, as_command: bool = False) -> Task:
    file = folder / "train.py"
    file.write_text(PROGRAM)
    section = {"command": [sys.executable, str(file)]} if as_command else {"file": str(file)}
    return task(folder / "out", nodes=2, framework="pytorch", spec=section)


@pytest.mark.parametrize(
    ("goes", "as_command"), [(1, False), (1, True), (0, False)], ids=["file", "command", "the store's rank"]
)
def test_what_the_loss_of_a_pod_does_to_a_program_is_no_fault_of_the_program(
    tmp_path: Path, goes: int, as_command: bool
) -> None:
    """gloo's error comes at once; the supervisor misses the other one only after some seconds."""
    with Gang(work(tmp_path, as_command=as_command), tmp_path, goes) as pods:
        program = pods.leaver()
        pods[goes].kill()
        if as_command:
            os.kill(program, signal.SIGKILL)
        [final] = pods.wait(60)
        said = pods[1 - goes].output()
    assert (final.rank, final.code) == (1 - goes, Exit.PEER_LOST), said
    assert f"Rank {1 - goes} lost the other ranks: " in said


@pytest.mark.parametrize("goes", [0, 1])
def test_a_machine_that_falls_silent_ends_the_gang_though_gloo_would_wait_for_half_an_hour(
    tmp_path: Path, goes: int
) -> None:
    """No connection is closed, as when a machine loses its power or its network."""
    with Gang(work(tmp_path), tmp_path, goes) as pods:
        for process in (pods.leaver(), pods[goes].process.pid):
            os.kill(process, signal.SIGSTOP)
        pods[1 - goes].process.wait(60)
        final = pods[1 - goes].final
    assert (final.rank, final.code) == (1 - goes, Exit.PEER_LOST)
    assert f"Rank {goes} has not been heard for" in final.message
