"""How a pod ends: the exit codes, what users read for each, and its last words."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from mlpools.document import Document

#: The kubelet keeps 4,096 bytes of a termination message.
FINAL_MAX_BYTES = 4_000


class Exit(enum.IntEnum):
    """Exit codes of a supervisor. They avoid 1, 2 and 125 and up, which shells and signals use."""

    DONE = 0
    USER_CODE = 10
    INVALID_SPEC = 11
    OUTPUT_EXISTS = 12
    DATA_NOT_READABLE = 13
    BAD_HYPER_PARAMETER = 14
    PACKAGE_NOT_ALLOWED = 15
    CHECKPOINT_MISMATCH = 16
    SECRET_MISSING = 17
    FABRIC_TOO_SLOW = 18
    OUTPUT_NOT_WRITABLE = 19
    HUNG = 20
    PREEMPTED = 21
    PEER_LOST = 22
    #: The worker was killed by a signal that nobody here sent (segmentation fault, kernel).
    SIGNAL = 23
    #: A fault of mlpools itself.
    INTERNAL = 24
    #: No such package or version, or not together with the others.
    PACKAGES_NOT_RESOLVED = 25
    PACKAGE_INDEX_UNAVAILABLE = 26
    #: The job's own code: not there, not what it should be, or not what it is said to hold.
    CODE_NOT_READABLE = 27
    #: Where the code lies does not answer.
    CODE_UNAVAILABLE = 28
    #: Part of a job did not come up in time, such as a node of its Ray cluster.
    START_TIMEOUT = 29
    #: Rows that by their number alone do not fit; one that was killed for memory has no code of its own.
    OUT_OF_MEMORY = 30
    #: Another program listens where a rank has to.
    PORT_TAKEN = 31
    #: A model that cannot be loaded, is of another framework than was said, or may not be loaded.
    MODEL_UNREADABLE = 32
    #: A model and data that do not belong together, which shows before the first row.
    MODEL_MISMATCH = 33
    #: More shards of a batch inference failed than it allows; all others are committed.
    SHARDS_FAILED = 34


#: What users read in ``status`` for each exit code; the retry rule of a reason is the operator's.
REASONS: Mapping[int, str] = {
    Exit.USER_CODE: "UserCodeError",
    Exit.INVALID_SPEC: "InvalidSpec",
    Exit.OUTPUT_EXISTS: "OutputExists",
    Exit.DATA_NOT_READABLE: "DataNotReadable",
    Exit.BAD_HYPER_PARAMETER: "BadHyperParameter",
    Exit.PACKAGE_NOT_ALLOWED: "PackageNotAllowed",
    Exit.CHECKPOINT_MISMATCH: "CheckpointMismatch",
    Exit.SECRET_MISSING: "SecretMissing",
    Exit.FABRIC_TOO_SLOW: "FabricTooSlow",
    Exit.OUTPUT_NOT_WRITABLE: "OutputNotWritable",
    Exit.HUNG: "Hung",
    Exit.PREEMPTED: "Preempted",
    Exit.PEER_LOST: "PeerLost",
    Exit.SIGNAL: "WorkerCrashed",
    Exit.INTERNAL: "InternalError",
    Exit.PACKAGES_NOT_RESOLVED: "PackagesNotResolved",
    Exit.PACKAGE_INDEX_UNAVAILABLE: "PackageIndexUnavailable",
    Exit.CODE_NOT_READABLE: "CodeNotReadable",
    Exit.CODE_UNAVAILABLE: "CodeUnavailable",
    Exit.START_TIMEOUT: "StartTimeout",
    Exit.OUT_OF_MEMORY: "OutOfMemory",
    Exit.PORT_TAKEN: "PortTaken",
    Exit.MODEL_UNREADABLE: "ModelUnreadable",
    Exit.MODEL_MISMATCH: "ModelMismatch",
    Exit.SHARDS_FAILED: "ShardsFailed",
}


@dataclasses.dataclass(frozen=True)
class Final(Document):
    """How a pod ended.

    Attributes:
        code: the exit code, one of ``Exit``.
        rank: node rank of the pod.
        attempt: of the task.
        message: one sentence for a person; empty on success.
        traceback: of the user's code, for the log reader; the first thing cut when space is short.
        step: last finished step.
        metrics: of the finished model, such as ``{"eval-rmse": 17.9, "train-rmse": 16.1}``.
        outputs: ``modelURL``, ``metricsURL``, ``resultURL``, ``logsURL``, ``checkpointURL``; of a batch
            inference ``outputURL``, ``manifestURL``, ``logsURL``, and ``errorsURL`` if rows failed.
        checkpoint_step: newest committed checkpoint, 0 = none.
        seconds: how long each phase took.
        shards: as in ``Report``; also where the attempt failed.
        rows: as in ``Report``.
        partial: a sentence about what the output of a batch inference lacks; empty if it has all rows.
    """

    code: int
    rank: int
    attempt: int = 1
    message: str = ""
    traceback: str = ""
    step: int = 0
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    outputs: dict[str, str] = dataclasses.field(default_factory=dict)
    checkpoint_step: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    shards: dict[str, int] = dataclasses.field(default_factory=dict)
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    partial: str = ""

    def encode(self, limit: int = FINAL_MAX_BYTES) -> bytes:
        """Return the UTF-8 JSON, cut to ``limit`` bytes: first the traceback, then metrics, then the message.

        The end of a traceback names the error, so its beginning goes first. What is left after all
        three cuts (the codes and the URLs of the outputs) is kept while it fits, else the URLs go too.
        """
        cut = _shorten(self, "traceback", limit, keep_end=True)
        if cut._size() > limit:
            cut = dataclasses.replace(cut, metrics={}, seconds={})
        cut = _shorten(cut, "message", limit, keep_end=False)
        if cut._size() > limit:
            cut = dataclasses.replace(cut, outputs={})
        return cut.to_json().encode()

    def _size(self) -> int:
        return len(self.to_json().encode())


def _shorten(final: Final, field: str, limit: int, *, keep_end: bool) -> Final:
    """Cut one text field to the longest part with which the document fits, or to nothing."""
    text: str = getattr(final, field)
    if final._size() <= limit:
        return final
    low, high = 0, len(text)
    while low < high:  # JSON escapes make the size of a text unpredictable, its order not
        middle = (low + high + 1) // 2
        part = text[len(text) - middle :] if keep_end else text[:middle]
        if dataclasses.replace(final, **{field: part})._size() <= limit:  # type: ignore[arg-type]
            low = middle
        else:
            high = middle - 1
    part = text[len(text) - low :] if keep_end else text[:low]
    return dataclasses.replace(final, **{field: part})  # type: ignore[arg-type]
