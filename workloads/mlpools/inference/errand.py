"""What a keeper tells the process that predicts, and what that leaves behind: files in a folder of theirs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from mlpools.contract.ends import Final
from mlpools.document import ContractError
from mlpools.errors import JobError

_ERRAND, _LOADED, _WORDS = "errand.json", "loaded", "last-words.json"
#: Folder of an errand, in the environment of the process.
FOLDER_ENV = "MLPOOLS_INFERENCE"


@dataclasses.dataclass(frozen=True)
class Errand:
    """How to find rank 0 and the model.

    Attributes:
        host: of rank 0.
        port: of its dispenser.
        token: of the job's pods.
        worker: name of this process.
        model: path of the model; empty if it is code alone.
        threads: CPUs of this worker.
        most_rows: of a call, after memory ran out; 0 for no bound.
    """

    host: str
    port: int
    token: str
    worker: str
    model: str
    threads: int
    most_rows: int = 0

    def lay_down(self, folder: Path) -> None:
        """Write the errand, and forget what the process before left."""
        for name in (_LOADED, _WORDS):
            (folder / name).unlink(missing_ok=True)
        path = folder / _ERRAND
        path.touch(mode=0o600)
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Errand:
        """Read what ``lay_down`` wrote."""
        return cls(**json.loads((folder / _ERRAND).read_text(encoding="utf-8")))


def note_loaded(folder: Path) -> None:
    """Leave word that the model is loaded: what goes wrong from now on is a shard's."""
    (folder / _LOADED).touch()


def was_loaded(folder: Path) -> bool:
    """Whether the process got so far."""
    return (folder / _LOADED).exists()


def leave_words(folder: Path, error: JobError, traceback: str) -> None:
    """Leave word of why the process ends."""
    final = Final(code=error.code, rank=0, message=str(error), traceback=traceback)
    (folder / _WORDS).write_text(final.to_json(), encoding="utf-8")


def last_words(folder: Path) -> Final | None:
    """Return why the process ended, if it said so."""
    try:
        return Final.from_json((folder / _WORDS).read_text(encoding="utf-8"))
    except (OSError, ContractError):
        return None
