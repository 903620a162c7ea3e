"""Checkpoints: folders that count only when their ``COMMIT`` is there and right.

``<root>/<job uid>/step-<n>/`` holds the model, ``state.json`` and, written last, ``COMMIT`` with the
SHA-256 of the others. A folder without it, or with a wrong one, is what a crash left behind.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlpools.errors import CheckpointMismatch, OutputNotWritable
from mlpools.storage import local

MODEL = "model.ubj"
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
    """The checkpoints of one job. Only rank 0 uses it."""

    def __init__(self, root: Path, uid: str, identity: Mapping[str, Any], keep: int) -> None:
        self._root = root
        self._own = root / uid
        self._uid = uid
        self._identity = json.loads(json.dumps(identity))
        self._keep = keep

    def save(self, step: int, model: bytes, state: Mapping[str, Any]) -> None:
        """Commit a checkpoint and delete those that are older than the newest ``keep``.

        Raises:
            OutputNotWritable: the location refuses writing.
        """
        folder = self._own / f"step-{step:09d}"
        document = {"uid": self._uid, "step": step, "identity": self._identity, "state": state}
        parts = {MODEL: model, STATE: json.dumps(document).encode()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / COMMIT).unlink(missing_ok=True)
            for name, data in parts.items():
                local.write(folder / name, data)
            commit = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
            local.write(folder / COMMIT, json.dumps(commit).encode())
            self._forget_old()
        except OSError as error:
            raise OutputNotWritable(
                f"checkpoint.url {self._root} cannot be written: {error.strerror}. "
                "Free space there, or make the volume writable."
            ) from error

    def newest(self, *, of_others: bool) -> Checkpoint | None:
        """Return the newest valid checkpoint to continue from.

        Args:
            of_others: also take another job's, when this one has none. The newest of those must fit.

        Raises:
            CheckpointMismatch: another job's newest checkpoint was made with something else.
        """
        for checkpoint in _committed(self._own):
            if checkpoint.identity == self._identity:
                return checkpoint
        if not of_others or not self._root.is_dir():
            return None
        others = [c for folder in self._root.iterdir() if folder.is_dir() for c in _committed(folder)]
        if not others:
            return None
        newest = max(others, key=lambda checkpoint: checkpoint.step)
        if newest.identity != self._identity:
            raise CheckpointMismatch(
                f"The checkpoint at step {newest.step} below {self._root} does not fit: "
                f"{first_difference(newest.identity, self._identity)}."
            )
        return newest

    def _forget_old(self) -> None:
        committed = sorted(path.parent for path in self._own.glob(f"step-*/{COMMIT}"))
        for folder in committed[: -self._keep]:
            (folder / COMMIT).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def _committed(folder: Path) -> list[Checkpoint]:
    """Return the valid checkpoints of one job, newest first."""
    found = (_load(path.parent) for path in sorted(folder.glob(f"step-*/{COMMIT}"), reverse=True))
    return [checkpoint for checkpoint in found if checkpoint is not None]


def _load(folder: Path) -> Checkpoint | None:
    try:
        commit = json.loads((folder / COMMIT).read_bytes())
        parts = {name: (folder / name).read_bytes() for name in (MODEL, STATE)}
        if any(hashlib.sha256(data).hexdigest() != commit[name] for name, data in parts.items()):
            return None
        document = json.loads(parts[STATE])
        fields = {name: document[name] for name in ("step", "state", "identity", "uid")}
    except (OSError, ValueError, KeyError):
        return None
    return Checkpoint(model=parts[MODEL], **fields)


def first_difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Name the first thing that differs between two identities, in words."""
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            return (
                f"{name} was {json.dumps(theirs.get(name))[:200]} and is {json.dumps(ours.get(name))[:200]}"
            )
    return "nothing differs"
