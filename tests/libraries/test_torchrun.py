"""A script under torchrun: two nodes of two processes each, with gloo on this machine."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from tests.support.pods import Pods, task, wait_for

RANKS = 4

#: Knows nothing of mlpools but its two variables and ``report``.
SCRIPT = """
import json, os, pathlib, sys, time
import torch
import torch.distributed as dist
import mlpools

dist.init_process_group("gloo")
rank, folder = dist.get_rank(), pathlib.Path(os.environ["FOLDER"])
total = torch.tensor([float(rank + 1)])
dist.all_reduce(total)
names = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "TORCH_NCCL_DUMP_ON_TIMEOUT")
found = {"total": total.item(), "elastic": dist.is_torchelastic_launched(), "argv": sys.argv[1:]}
found |= {name: os.environ[name] for name in names}
(folder / f"rank-{rank}.json").write_text(json.dumps({**found, "pid": os.getpid()}))
if rank == 0:
    mlpools.report(1, total=1, metrics={"total": total.item()})
    pathlib.Path(os.environ["MLPOOLS_OUTPUT"], "total").write_text(str(total.item()))
dist.barrier()
if rank == int(os.environ.get("FAILS", -1)):
    raise KeyError("dep_tme")
if "WAITS" in os.environ:
    (folder / f"waits-{rank}").touch()
    time.sleep(600) if rank == 3 else dist.barrier()
dist.destroy_process_group()
"""


def pods(folder: Path, **environ: str) -> Pods:
    """Return the gang that runs the script."""
    (folder / "main.py").write_text(SCRIPT)
    section = {"file": str(folder / "main.py"), "launcher": "torchrun", "args": ["--fast"]}
    work = task(folder / "out", framework="script", nodes=2, workers_per_node=2, spec=section)
    return Pods(work, folder / "pods", environ={"FOLDER": str(folder), **environ})


def told(folder: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"rank-{rank}.json").read_text())
    return found


def test_the_processes_find_each_other_and_leave_a_model(tmp_path: Path) -> None:
    with pods(tmp_path) as gang:
        finals = gang.wait(150)
        assert [final.code for final in finals] == [Exit.DONE] * 2, gang[0].output() + gang[1].output()
    assert (finals[0].step, finals[0].metrics) == (1, {"total": 10.0})
    assert (tmp_path / "out/model/total").read_text() == "10.0"
    for rank in range(RANKS):
        found = told(tmp_path, rank)
        assert (found["total"], found["elastic"], found["argv"]) == (10.0, True, ["--fast"])
        assert (found["GROUP_RANK"], found["LOCAL_RANK"]) == (str(rank // 2), str(rank % 2))
        assert (found["LOCAL_WORLD_SIZE"], found["TORCH_NCCL_DUMP_ON_TIMEOUT"]) == ("2", "1")


@pytest.mark.parametrize("culprit", [1, 2])
def test_the_process_that_failed_is_named_and_not_those_that_it_took_along(
    tmp_path: Path, culprit: int
) -> None:
    with pods(tmp_path, FAILS=str(culprit), WAITS="") as gang:
        finals = gang.wait(150)
        said = gang[0].output() + gang[1].output()
    codes = [final.code for final in finals]
    assert codes == [Exit.USER_CODE if node == culprit // 2 else Exit.PEER_LOST for node in range(2)], said
    cause = f"Rank {culprit}: {tmp_path}/main.py ended with exit code 1: KeyError: 'dep_tme'."
    assert finals[culprit // 2].message == cause
    assert all(cause.removesuffix(".") in final.message for final in finals)


def killed(folder: Path, *, with_its_pod: bool) -> tuple[list[Final], str]:
    """Kill rank 3, which is in no collective, while the others wait for it."""
    with pods(folder, WAITS="") as gang:
        wait_for(lambda: len(list(folder.glob("waits-*"))) == RANKS, 150, "all four processes")
        if with_its_pod:
            gang[1].process.kill()
        for rank in (3, 2) if with_its_pod else (3,):
            os.kill(told(folder, rank)["pid"], signal.SIGKILL)
        return gang.wait(60), gang[0].output()


def test_a_killed_process_is_a_crash_and_no_fault_of_the_script(tmp_path: Path) -> None:
    finals, said = killed(tmp_path, with_its_pod=False)
    assert [final.code for final in finals] == [Exit.PEER_LOST, Exit.SIGNAL], said
    assert finals[1].message.startswith(f"Rank 3: {tmp_path}/main.py was killed by SIGKILL")


def test_the_loss_of_a_pod_is_no_fault_of_the_script(tmp_path: Path) -> None:
    """torchrun on rank 0's node ends long before its supervisor misses the other one."""
    [final], said = killed(tmp_path, with_its_pod=True)
    assert (final.rank, final.code) == (0, Exit.PEER_LOST), said
