"""What NCCL's watchdog wrote before it ended a process that had waited too long: for whom it waited."""

from __future__ import annotations

import re

#: From PyTorch's ``ProcessGroupNCCL``.
_TIMED_OUT = re.compile(
    r"Watchdog caught collective operation timeout: "
    r"WorkNCCL\(.*?\bOpType=(\w+).*?\) ran for (\d+) milliseconds before timing out"
)
#: From its desync report (``TORCH_NCCL_DESYNC_DEBUG``): ranks that joined nothing, or are one behind.
_LATE = re.compile(
    r"ranks \[(\d[\d, ]*)\] are the lagging ranks that caused this timeout"
    r"|\[(\d[\d, ]*)\] (?:joined but didn't finish|finished) collective #"
)


def waited(log: str, rank: int) -> str:
    """Return one sentence if NCCL's watchdog ended a process, else nothing.

    Args:
        log: the end of what the process wrote.
        rank: of the process. It hung no more than any other that waited, so it is not to blame.
    """
    found = _TIMED_OUT.search(log)
    if found is None:
        return ""
    groups = [match[1] or match[2] for match in _LATE.finditer(log)]
    late = sorted({int(number) for group in groups for number in group.split(",")} - {rank})
    whom = f"{'rank' if len(late) == 1 else 'ranks'} {', '.join(map(str, late))}" if late else "other ranks"
    return f"Rank {rank} waited {int(found[2]) // 1000} s in {found[1]} for {whom}; NCCL's watchdog ended it."
