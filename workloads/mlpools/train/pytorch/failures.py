"""What a failure of the user's program means: its own fault, or that of a rank that is gone."""

from __future__ import annotations

import signal
import traceback
from pathlib import Path
from types import TracebackType

from mlpools.errors import JobError, PeerLost, UserCodeError, one_line
from mlpools.supervisor import nccl
from mlpools.train import torch_words

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
    if torch_words.is_of_peer(error):
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
    if code == -signal.SIGABRT and (waited := nccl.waited(last_words, rank)):
        return PeerLost(waited)
    last = last_words.strip().splitlines()[-_LAST_LINES:]
    rank, said, of_peer = torch_words.error_of([recorded] if recorded else last, rank)
    if of_peer:
        return PeerLost(f"Rank {rank} lost the other ranks: {said.strip().rstrip('.')}.")
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    reason = said or recorded
    because = f": {reason.strip().rstrip('.')}" if reason else ""
    return _failed(f"Rank {rank}: {command} {how}{because}.", "\n".join(last))


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
