"""What stands still ends in a named rank, and leaves what it did last."""

from __future__ import annotations

import mmap
import pickle
from pathlib import Path

import torch

from mlpools.contract.ends import Exit
from mlpools.train.torch_variables import missing
from tests.support.torch_programs import run

#: The import of PyTorch, which is no progress, takes some seconds on a busy machine.
HANG_SECONDS = 20

HANGS = """
import os, signal
import torch
import torch.distributed as dist
from mlpools.train.pytorch import get_context

def load():
    signal.pause()

context = get_context()
dist.init_process_group("gloo")
for step in range(1, 4):
    if step == 3 and context.get_rank() == 1:
        load()
    dist.all_reduce(torch.ones(1))
    context.get_metrics_reporter().log_metrics({}, step=step)
"""


def test_of_a_hang_the_rank_is_named_for_which_the_others_waited(tmp_path: Path) -> None:
    finals, _ = run(tmp_path, HANGS, hang_timeout_seconds=HANG_SECONDS)
    assert [final.code for final in finals] == [Exit.PEER_LOST, Exit.HUNG]
    assert finals[1].message.startswith("Rank 1 made no progress for ")
    assert finals[1].message.endswith("). It stood at train.py line 8 (load).")
    assert "Rank 1 made no progress" in finals[0].message


BUSY = """
import time
import torch.distributed as dist

dist.init_process_group("gloo")
end = time.monotonic() + 26
while time.monotonic() < end:
    sum(range(1000))
dist.barrier()
"""


def test_a_program_that_reports_nothing_is_not_hung_while_it_is_at_work(tmp_path: Path) -> None:
    finals, said = run(tmp_path, BUSY, hang_timeout_seconds=HANG_SECONDS)
    assert [final.code for final in finals] == [Exit.DONE] * 2, said


RECORDS = """
import torch
import torch.distributed as dist
from torch._C import _distributed_c10d

dist.init_process_group("gloo")
dist.all_reduce(torch.ones(3))
_distributed_c10d._dump_fr_trace_file(dist.get_rank())
dist.barrier()
raise TimeoutError("all_reduce")
"""


def test_what_the_flight_recorder_writes_is_kept_beside_the_logs(tmp_path: Path) -> None:
    """The program does what NCCL's watchdog does when a collective times out; gloo's are recorded, too."""
    finals, said = run(tmp_path, RECORDS)
    assert [final.code for final in finals] == [Exit.USER_CODE] * 2, said
    for rank in range(2):
        dump = pickle.loads((tmp_path / f"out/logs/attempt-1/collectives-rank-{rank}").read_bytes())
        assert [entry["profiling_name"] for entry in dump["entries"]] == ["gloo:all_reduce"]


def lacking(names: set[bytes]) -> set[bytes]:
    """Return what PyTorch's libraries do not hold: there may be no GPU here, but there are their words."""
    for library in sorted(Path(torch.__file__).parent.glob("lib/libtorch_c*.so")):
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            names = {name for name in names if content.find(name) < 0}
    return names


def test_pytorch_reads_every_variable_that_is_set(tmp_path: Path) -> None:
    set_ = missing({}, hang_seconds=60, scratch=tmp_path)
    assert not lacking({name.encode() + b"\0" for name in set_}), "PyTorch calls them by other names now"


def test_what_nccl_s_watchdog_says_is_what_is_looked_for() -> None:
    """See mlpools.supervisor.nccl."""
    assert not lacking(
        {
            b"Watchdog caught collective operation timeout: ",
            b"WorkNCCL(",
            b", OpType=",
            b" milliseconds before timing out.",
            b"] are the lagging ranks that caused this timeout.",
            b"] joined but didn't finish collective #",
            b"] finished collective #",
        }
    )
