"""Failures with a cause that a person can act on.

Each has the exit code that its cause means, and a message that is one sentence: what, where, what to do.
"""

# ruff: noqa: N818 - the names are the reasons that users read in a job's status
from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from mlpools.contract.ends import Exit, Final

_SHOWN_NAMES = 20
#: As XGBoost begins its messages.
_NATIVE_PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+?:\d+: ")


class JobError(Exception):
    """A job, or a call of the library, cannot go on.

    Attributes:
        code: how a pod with this failure ends.
    """

    code = Exit.INTERNAL


class UserCodeError(JobError):
    """The user's own code failed; a note may have its traceback or its last words."""

    code = Exit.USER_CODE


class InvalidSpec(JobError, ValueError):
    """What was asked for makes no sense together."""

    code = Exit.INVALID_SPEC


class OutputExists(JobError):
    """The output holds the result of another run."""

    code = Exit.OUTPUT_EXISTS


class OutputNotWritable(JobError):
    """The output or checkpoint location refuses writing; a full disk may have space at the next attempt."""

    code = Exit.OUTPUT_NOT_WRITABLE


class DataNotReadable(JobError, ValueError):
    """A file or column is missing, damaged, or of a kind that cannot be used."""

    code = Exit.DATA_NOT_READABLE


class BadHyperParameter(JobError, ValueError):
    """A training parameter is unknown or out of its range."""

    code = Exit.BAD_HYPER_PARAMETER


class OutOfMemory(JobError):
    """More rows than fit, which shows before they are read."""

    code = Exit.OUT_OF_MEMORY


class ModelUnreadable(JobError, ValueError):
    """A model is not there, is damaged, is none of the kind that was named, or is of an unsafe kind."""

    code = Exit.MODEL_UNREADABLE


class ModelMismatch(JobError, ValueError):
    """The model cannot be used for these columns, or the data has none for the model's features."""

    code = Exit.MODEL_MISMATCH


class ShardsFailed(JobError):
    """More shards could not be predicted than was allowed; the others are committed."""

    code = Exit.SHARDS_FAILED


class PackageNotAllowed(JobError):
    """A package was asked for, or comes with one, that the pool does not take."""

    code = Exit.PACKAGE_NOT_ALLOWED


class PackagesNotResolved(JobError):
    """There is no such package or version, or not together with the others."""

    code = Exit.PACKAGES_NOT_RESOLVED


class PackageIndexUnavailable(JobError):
    """The pool's package index does not answer, or does not let this job in."""

    code = Exit.PACKAGE_INDEX_UNAVAILABLE


class CodeNotReadable(JobError):
    """The job's own code is not there, is not what it should be, or lacks what is to run."""

    code = Exit.CODE_NOT_READABLE


class CodeUnavailable(JobError):
    """The place of the job's code does not answer."""

    code = Exit.CODE_UNAVAILABLE


class StartTimeout(JobError):
    """A part of the job did not come up in time."""

    code = Exit.START_TIMEOUT


class SecretMissing(JobError):
    """A Secret or ConfigMap that the pod was promised is not there."""

    code = Exit.SECRET_MISSING


class CheckpointMismatch(JobError):
    """The checkpoint to resume from was made with other data, features or parameters."""

    code = Exit.CHECKPOINT_MISMATCH


class FabricTooSlow(JobError):
    """The network between the ranks is slower than the pool asks for."""

    code = Exit.FABRIC_TOO_SLOW


class PortTaken(JobError):
    """Another program listens where a rank has to; another port, or another machine, will do."""

    code = Exit.PORT_TAKEN


class Preempted(JobError):
    """The worker was told to stop, and did."""

    code = Exit.PREEMPTED


class PeerLost(JobError):
    """Another rank does not answer any more; the cause is told by that rank or by the gang's watchdog."""

    code = Exit.PEER_LOST


class Hung(JobError):
    """A rank made no progress for too long."""

    code = Exit.HUNG


class WorkerCrashed(JobError):
    """A rank's process was killed by a signal, or ended without a word."""

    code = Exit.SIGNAL


def from_final(final: Final, *, of_many: bool) -> JobError:
    """Return the failure that a pod ended with, for a caller in another process.

    Args:
        final: of a pod that did not end well; the traceback of the user's code becomes a note.
        of_many: the gang has several pods, so the message should name the rank.
    """
    named = final.message.startswith("Rank ") or f"ank {final.rank} " in final.message
    message = final.message if named or not of_many else f"Rank {final.rank}: {final.message}"
    kinds = {kind.code: kind for kind in JobError.__subclasses__()}
    error = kinds.get(Exit(final.code), JobError)(message)
    if final.traceback:
        error.add_note(final.traceback)
    return error


def one_line(error: BaseException) -> str:
    """Return a library's message as a clause: no line breaks, no full stop, no places in native code."""
    text = _NATIVE_PLACE.sub("", str(error).partition("Stack trace:")[0])
    return " ".join(text.split()).rstrip(" .:")


def at_hand(wanted: str, names: Sequence[str], what: str) -> str:
    """Return a sentence that helps with a misspelt name: the closest one and those there are."""
    close = difflib.get_close_matches(wanted, names, n=1)
    shown = ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
    return (f"Did you mean {close[0]!r}? " if close else "") + f"{what} at hand: {shown}."
