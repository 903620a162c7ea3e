"""Checkpoints: folders that count only when their ``COMMIT`` is there and right.

``<root>/<job uid>/step-<n>/`` holds the model, ``state.json`` and, written last, ``COMMIT`` with the
SHA-256 of the others. A folder without it, or with a wrong one, is what a crash left behind.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mlpools.errors import CheckpointMismatch
from mlpools.storage import FileMissing, Location, locate
from mlpools.train.documents import read
from mlpools.train.reporter import log

MODEL = "model"
STATE = "state.json"
COMMIT = "COMMIT"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One committed step.

    Attributes:
        step: finished rounds or optimizer steps.
        model: the framework's bytes.
        state: what else continuing needs: history, early stopping.
        identity: of data, features and parameters; only an equal one may continue.
        uid: of the job that wrote it.
    """

    step: int
    model: bytes
    state: Mapping[str, Any]
    identity: Mapping[str, Any]
    uid: str


class Checkpoints:
    """The checkpoints of one job. Only rank 0 uses it.

    Attributes:
        passed_over: those that ``newest`` could not take, each with the reason.
    """

    def __init__(self, root: Location, uid: str, identity: Mapping[str, Any], keep: int) -> None:
        self._root = root
        self._own = root.child(uid)
        self._uid = uid
        self._identity = json.loads(json.dumps(identity))
        self._keep = keep
        self.passed_over: list[str] = []

    def save(self, step: int, model: bytes, state: Mapping[str, Any]) -> None:
        """Commit a checkpoint and delete those that are older than the newest ``keep``.

        Raises:
            OutputNotWritable: the location refuses writing.
        """
        folder = self._own.child(f"step-{step:09d}")
        document = {"uid": self._uid, "step": step, "identity": self._identity, "state": state}
        parts = {MODEL: model, STATE: json.dumps(document).encode()}
        folder.child(COMMIT).delete()
        for name, data in parts.items():
            folder.child(name).write(data)
        commit = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
        folder.child(COMMIT).write(json.dumps(commit).encode())
        self._forget_old()

    def newest(self, *, of_others: bool) -> Checkpoint | None:
        """Return the newest valid checkpoint to continue from.

        Args:
            of_others: also take another job's, when this one has none. The newest of those must fit.

        Raises:
            CheckpointMismatch: another job's newest checkpoint was made with something else.
            DataNotReadable: the location cannot be looked into.
        """
        for folder in reversed(committed(self._own)):
            checkpoint = _load(folder)
            if checkpoint is not None and checkpoint.identity == self._identity:
                return checkpoint
            self._pass_over(folder, checkpoint)
        if not of_others:
            return None
        return self._newest_of_all()

    def _newest_of_all(self) -> Checkpoint | None:
        """Return the newest valid checkpoint of any job, which must fit."""
        for folder in sorted(committed(self._root), key=lambda folder: folder.name, reverse=True):
            checkpoint = _load(folder)
            if checkpoint is None:
                self._pass_over(folder, None)
            elif checkpoint.identity != self._identity:
                raise CheckpointMismatch(
                    f"The checkpoint at step {checkpoint.step} below {self._root} does not fit: "
                    f"{first_difference(checkpoint.identity, self._identity)}."
                )
            else:
                return checkpoint
        return None

    def _pass_over(self, folder: Location, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            why = "it is damaged"
        else:
            why = f"it does not fit: {first_difference(checkpoint.identity, self._identity)}"
        said = f"{folder}: {why}"
        if said not in self.passed_over:
            self.passed_over.append(said)
            log(f"The checkpoint {folder} is passed over for an older one, if there is one: {why}.")

    def _forget_old(self) -> None:
        for folder in committed(self._own)[: -self._keep]:
            folder.child(COMMIT).delete()
            folder.delete_tree()


def committed(place: Location) -> list[Location]:
    """Return the folders below a place that have a COMMIT, those of one job oldest first."""
    found = (locate(info.url) for info in place.list(hidden=True))
    return [file.parent for file in found if file.name == COMMIT]


def _load(folder: Location) -> Checkpoint | None:
    commit = read(folder.child(COMMIT)) or {}
    try:
        parts = {name: folder.child(name).read() for name in (MODEL, STATE)}
    except FileMissing:
        return None
    if any(hashlib.sha256(data).hexdigest() != commit.get(name) for name, data in parts.items()):
        return None
    document = json.loads(parts[STATE])
    fields = {name: document[name] for name in ("step", "state", "identity", "uid")}
    return Checkpoint(model=parts[MODEL], **fields)


def first_difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Name the first thing that differs between two identities, in words."""
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            return (
                f"{name} was {json.dumps(theirs.get(name))[:200]} and is {json.dumps(ours.get(name))[:200]}"
            )
    return "nothing differs"
