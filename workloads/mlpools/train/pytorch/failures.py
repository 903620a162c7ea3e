"""What a failure of the user's program means: its own fault, or that of a rank that is gone."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from types import TracebackType

from mlpools.errors import JobError, PeerLost, UserCodeError, one_line

#: gloo has no error of its own: what its peers' ends cause are RuntimeErrors with these words.
_GLOO = re.compile(
    r"gloo/transport|Connection (closed|reset) by peer|[Cc]onnectFullMesh failed|"
    r"Timed out waiting \d+ms for (send|recv)|Broken pipe"
)
#: Errors of torch.distributed that only other ranks cause.
_DISTRIBUTED = frozenset({"DistBackendError", "DistNetworkError", "DistStoreError", "QueueEmptyError"})
_HERE = str(Path(__file__).parent)
_LAST_LINES = 20


def judge(error: BaseException, rank: int) -> JobError:
    """Return a failure of the user's program as one with a cause.

    Args:
        error: what the program let pass; one of mlpools' own keeps its cause.
        rank: whose program it was.
    """
    if isinstance(error, JobError):
        return error
    if is_of_peer(error):
        return PeerLost(f"Rank {rank} lost the other ranks: {_first_line(error)}.")
    frames = _users_frames(error.__traceback__)
    told = "".join(traceback.TracebackException(type(error), error, frames).format())
    where = _where(frames)
    if isinstance(error, SystemExit):
        return _failed(f"The program of rank {rank} ended with exit code {error.code}{where}.", told)
    what = f"{type(error).__name__}: {one_line(error)}".rstrip(": ")
    return _failed(f"Rank {rank}: {what}{where}.", told)


def of_command(command: str, rank: int, code: int, recorded: str, last_words: str) -> JobError:
    """Return the failure of a program that a command started.

    Args:
        command: in words.
        rank: whose program it was.
        code: its exit code; below 0 the signal that killed it.
        recorded: what torch.distributed.elastic's ``record`` wrote about its error, if it was used.
        last_words: the end of its output.
    """
    last = last_words.strip().splitlines()[-_LAST_LINES:]
    # A Python program ends with its error's type and message.
    said = recorded or next(
        (line for line in reversed(last) if re.match(r"[\w.]+(Error|Exception)\b", line)), ""
    )
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    if _GLOO.search(said):
        return PeerLost(f"Rank {rank} lost the other ranks: {said.strip().rstrip('.')}.")
    reason = f": {said.strip().rstrip('.')}" if said else ""
    return _failed(f"Rank {rank}: {command} {how}{reason}.", "\n".join(last))


def is_of_peer(error: BaseException) -> bool:
    """Whether an error says no more than that another rank does not answer."""
    return type(error).__name__ in _DISTRIBUTED or (
        isinstance(error, RuntimeError) and _GLOO.search(str(error)) is not None
    )


def _failed(message: str, words: str) -> UserCodeError:
    error = UserCodeError(message)
    error.add_note(words)
    return error


def _users_frames(found: TracebackType | None) -> TracebackType | None:
    """Leave out how the program was started."""
    while found is not None and _is_starter(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return found


def _is_starter(filename: str) -> bool:
    return filename.startswith((_HERE, "<frozen runpy>"))


def _where(frames: TracebackType | None) -> str:
    """Return the innermost line of the user's own files: libraries are rarely to blame."""
    if frames is None:
        return ""
    own = Path(frames.tb_frame.f_code.co_filename).parent
    lines = [
        (Path(frame.filename), frame.lineno)
        for frame in traceback.extract_tb(frames)
        if Path(frame.filename).is_relative_to(own) and "site-packages" not in frame.filename
    ]
    if not lines:
        return ""
    path, number = lines[-1]
    return f" in {path.name} line {number}"


def _first_line(error: BaseException) -> str:
    return one_line(Exception(str(error).strip().partition("\n")[0]))
