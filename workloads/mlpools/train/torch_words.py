"""What PyTorch says of failures, and which of them only tell that another rank is gone.

Of a program that is a process of its own, what it wrote is all there is to go by. PyTorch is not needed here.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

#: gloo has no error of its own: what its peers' ends cause are RuntimeErrors with these words.
_GLOO = re.compile(
    r"gloo/transport|Connection (closed|reset) by peer|[Cc]onnectFullMesh failed|"
    r"Timed out waiting \d+ms for (send|recv)|Broken pipe"
)
#: Errors of torch.distributed that only other ranks cause.
_DISTRIBUTED = frozenset({"DistBackendError", "DistNetworkError", "DistStoreError", "QueueEmptyError"})
#: Python ends with its error's type and message; torch.distributed puts the rank before each line of it.
_ERROR = re.compile(r"(?:\[rank(\d+)\]: )?((?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt|Warning))\b.*)")
#: torchrun's own errors say no more than that a process of it failed.
_AGENT = "torch.distributed.elastic."
#: Of torchrun's account of its processes; the first that failed comes last.
_FAILED = re.compile(r"^ +rank +: (\d+) \(local_rank: \d+\)\n +exitcode +: (-?\d+) ", re.MULTILINE)


def is_of_peer(error: BaseException) -> bool:
    """Whether an error says no more than that another rank does not answer."""
    kind = "RuntimeError" if isinstance(error, RuntimeError) else ""
    return type(error).__name__ in _DISTRIBUTED or _tells_of_peer(kind, str(error))


def error_of(lines: Sequence[str], rank: int) -> tuple[int, str, bool]:
    """Return the error that a Python program ended with.

    Of several processes the error of one that failed by itself comes before those that it caused in others.

    Args:
        lines: the end of the output.
        rank: whose output it is.

    Returns:
        The rank, which of several processes may be another one; the error's type and message, empty if there
        is none; and whether it says no more than that another rank does not answer.
    """
    found = [match for line in lines if (match := _ERROR.fullmatch(line)) and not match[2].startswith(_AGENT)]
    own = [match for match in found if not _tells_of_peer(match[3], match[2])]
    if not found:
        return rank, "", False
    last = (own or found)[-1]
    return int(last[1] or rank), last[2], not own


def end_under_torchrun(words: str) -> tuple[int, int] | None:
    """Return the rank of the process that failed under torchrun, and its exit code, below 0 for a signal.

    Args:
        words: the end of torchrun's output; None is returned if it tells of no failed process.
    """
    ends = [(int(rank), int(code)) for rank, code in _FAILED.findall(words)]
    # Those that torchrun ended because of another one have failed by its SIGTERM.
    killed = [end for end in ends if end[1] < 0 and end[1] != -signal.SIGTERM]
    return (killed or ends)[-1] if ends else None


def _tells_of_peer(kind: str, words: str) -> bool:
    return kind in _DISTRIBUTED or (kind == "RuntimeError" and _GLOO.search(words) is not None)
