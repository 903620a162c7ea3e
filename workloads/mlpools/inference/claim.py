"""Whose output a place holds, and of what: taken before data is read, checked before a row is predicted.

    owner.json    the job whose output this is, its newest attempt, and whether an old result is being deleted
    _run.json     what the parts are made of: input, model, settings; only an equal run may complete them

Only rank 0 uses this module. An older attempt that still lives sees that a newer one has the place.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from mlpools.contract.tasks import Task
from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest
from mlpools.errors import (
    CheckpointMismatch,
    DataNotReadable,
    OutputExists,
    OutputNotWritable,
    PeerLost,
)
from mlpools.storage import Location
from mlpools.train.checkpoints import first_difference
from mlpools.train.documents import pretty, read
from mlpools.train.owner import OWNER, owner_of, written_owner

RUN = "_run.json"
ERRORS = "_errors.jsonl"
_LOGS = "logs/"
_BEGUN = f".{OWNER}."
_SHOWN = 3


class Claim:
    """One job's hold on its output's place."""

    def __init__(self, task: Task, target: Location) -> None:
        """Make one; nothing is looked at yet."""
        self._task = task
        self._target = target
        self._mode = task.output.get("mode") or "Error"
        self._clears = False
        self._fresh = False

    def take(self) -> Manifest | None:
        """Take the place for this attempt, before any data is read.

        Returns:
            The job's own finished result, if an earlier attempt got so far, else None.

        Raises:
            OutputExists: it holds something, and ``mode`` is ``Error``, or nothing that could be resumed.
            OutputNotWritable: it refuses.
            PeerLost: a newer attempt has it.
        """
        try:
            owner, names = owner_of(self._target), self._names()
        except DataNotReadable as error:
            raise OutputNotWritable(str(error)) from error
        if owner.get("uid") == self._task.uid:
            self._check_attempt(owner)
            self._clears = bool(owner.get("clearing"))
            self._fresh = names == [OWNER]
            finished = None if self._clears else self._finished(names)
            self._write(clearing=self._clears)
            return finished
        if names and self._mode == "Error":
            raise self._occupied(owner, names)
        if names and self._mode == "Resume" and RUN not in names:
            raise OutputExists(
                f"output.url {self._target} holds nothing that can be resumed, but {_shown(names)}. "
                "Choose another place, or mode Overwrite."
            )
        self._clears = bool(names) and self._mode == "Overwrite"
        if not names:
            self._write(clearing=False, first=not owner)
            self._fresh = True
        return None

    def release(self) -> None:
        """Give the place back as it was found, empty: the run failed before it wrote anything there."""
        with contextlib.suppress(OutputNotWritable, DataNotReadable):
            if self._fresh and owner_of(self._target) == json.loads(self._written()):
                self._target.child(OWNER).delete()

    def agree(self, run: Mapping[str, Any]) -> None:
        """Check that parts which are there are of this very run.

        Args:
            run: input, model and settings, in JSON's types.

        Raises:
            CheckpointMismatch: they are not; with the first difference.
        """
        if self._clears:
            return
        given = json.loads(json.dumps(run))
        held = read(self._target.child(RUN))
        if held is not None and held != given:
            raise CheckpointMismatch(
                f"The parts in {self._target} were made of something else: {first_difference(held, given)}. "
                "Restore it, or write the output anew, with mode Overwrite or to another place."
            )

    def open(self, run: Mapping[str, Any]) -> Manifest | None:
        """Make the place ready for parts: the model fits the data, so now an old result may go.

        Args:
            run: as in ``agree``.

        Returns:
            A finished result that this job resumes and that lacks nothing, else None.

        Raises:
            OutputNotWritable: the place refuses.
        """
        if self._clears:
            self._write(clearing=True)
            for name in sorted(self._names(), key=lambda name: name != commit.SUCCESS):
                if name != OWNER:
                    self._target.child(name).delete()
            self._clears = False
        elif (done := self._finished(self._names())) is not None:
            if not done.details.get("failed"):
                return done
            self._target.child(commit.SUCCESS).delete()
            self._target.child(commit.MANIFEST).delete()
        self._write(clearing=False)
        self._target.child(RUN).write(pretty(run))
        return None

    def check(self) -> None:
        """See that no newer attempt has taken the place.

        Raises:
            OutputExists: another job has.
            OutputNotWritable: it refuses.
            PeerLost: a newer attempt of this job has.
        """
        try:
            owner = owner_of(self._target)
        except DataNotReadable as error:
            raise OutputNotWritable(str(error)) from error
        if owner.get("uid") != self._task.uid:
            raise OutputExists(f"Another job took output.url {self._target} over while this one was at work.")
        self._check_attempt(owner)

    def _check_attempt(self, owner: Mapping[str, Any]) -> None:
        newest = int(owner.get("attempt", 0))
        if newest > self._task.attempt:
            raise PeerLost(f"Attempt {newest} of this job has taken over from attempt {self._task.attempt}.")

    def _finished(self, names: list[str]) -> Manifest | None:
        """Return a finished result; one that was cut off behind its manifest is finished now."""
        if commit.MANIFEST not in names:
            return None
        commit.finish(self._target)
        return commit.read_manifest(self._target)

    def _write(self, *, clearing: bool, first: bool = False) -> None:
        extra = {"clearing": True} if clearing else {}
        try:
            self._target.child(OWNER).write(self._written(**extra), once=first)
        except FileExistsError:  # another job came first by a moment
            raise self._occupied(owner_of(self._target), [OWNER]) from None

    def _written(self, **extra: Any) -> bytes:
        return written_owner(self._task, attempt=self._task.attempt, **extra)

    def _names(self) -> list[str]:
        """Return what is there, without logs, and without what a claim leaves that is killed on a volume."""
        prefix = self._target.url.rstrip("/") + "/"
        names = (info.url.removeprefix(prefix) for info in self._target.list(hidden=True))
        return [name for name in names if not name.startswith((_LOGS, _BEGUN))]

    def _occupied(self, owner: Mapping[str, Any], names: list[str]) -> OutputExists:
        whose = f"the output of {owner['namespace']}/{owner['name']}" if owner else _shown(names)
        return OutputExists(
            f"output.url {self._target} is not empty: it holds {whose}. Choose an empty place, or mode "
            "Overwrite, or Resume to complete an earlier run."
        )


def _shown(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
