"""The output of a job: names, the claim on the location, and one commit of everything.

====================================  =====================================================
``owner.json``                        whose result this location holds; written first
``model.ubj``, …                      the model, as its framework writes it
``metrics.jsonl``                     the metrics of every step, a line each
``learning_curve.png``                the same as a picture
``importance.csv``                    of trees: what each feature did
``result.json``                       the full report; written last, so its presence means: complete
``checkpoints/<uid>/step-<n>/``       see ``mlpools.train.checkpoints``
``logs/attempt-<n>/rank-<r>.log``     the end of each rank's output
``logs/attempt-<n>/metrics.jsonl``    the metrics up to the newest checkpoint of an attempt
====================================  =====================================================
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlpools.contract.tasks import Task
from mlpools.errors import DataNotReadable, OutputExists, OutputNotWritable
from mlpools.locations import child_url
from mlpools.runtime.curve import CURVE
from mlpools.runtime.frameworks import FRAMEWORKS, find
from mlpools.storage import FileMissing, Location, locate
from mlpools.train.documents import pretty, read
from mlpools.train.history import METRICS
from mlpools.train.owner import OWNER, owner_of, written_owner
from mlpools.train.trees.importance import IMPORTANCE

RESULT = "result.json"
LOGS = "logs"
#: Whatever a job of any framework leaves.
_LEFT = (
    *(framework.model for framework in FRAMEWORKS.values() if framework.model),
    METRICS,
    CURVE,
    IMPORTANCE,
)


class Outputs:
    """One job's output location. Only rank 0 uses it."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._url = str(task.output["url"])
        self._root = locate(self._url)
        self._model = find(task.framework).model

    def urls(self, written: Collection[str]) -> dict[str, str]:
        """Return where a user finds what, for the job's status.

        Args:
            written: names of the files that were committed.
        """
        names = {"modelURL": self._model, "metricsURL": METRICS, "resultURL": RESULT, "logsURL": LOGS}
        there = {*written, RESULT, LOGS}
        places = {key: child_url(self._url, name) for key, name in names.items() if name in there}
        return {**places, "checkpointURL": str(self._task.checkpoint["url"])}

    def claim(self) -> dict[str, Any] | None:
        """Take the location for this job, before any data is read.

        Returns:
            The job's own result, if an earlier attempt committed it already, else None.

        Raises:
            OutputExists: it holds another run's result and ``mode`` is ``Error``.
            OutputNotWritable: the volume or the store refuses.
        """
        with _as_output():
            if self._owner() == self._task.uid:
                return self._own_result()
            held = [name for name in (OWNER, RESULT, *_LEFT) if self._root.child(name).exists()]
        if held and self._task.output.get("mode", "Error") == "Error":
            raise self._exists(held[0])
        if self._task.output.get("mode") == "Overwrite":
            self._root.child(LOGS).delete_tree()
        self._write_owner(replace=bool(held))
        return None

    def commit(self, files: Mapping[str, bytes | Path], result: Mapping[str, Any]) -> None:
        """Write the files and, as the last one, the result.

        With ``Overwrite`` and ``Resume`` an older result goes only now: first its ``result.json``, then all
        that a job of whichever framework may have left.

        Args:
            files: by name: the content, or a local file or folder to copy.
            result: the full report.

        Raises:
            OutputNotWritable: the volume or the store refuses.
        """
        with _as_output():
            owner = self._owner()
        if owner != self._task.uid:
            raise OutputExists(f"Another job took output.url {self._url} over while this one was training.")
        self._root.child(RESULT).delete()
        if self._task.output.get("mode", "Error") != "Error":
            for name in _LEFT:
                _clear(self._root.child(name))
        for name, content in {**files, RESULT: pretty(result)}.items():
            _write(self._root.child(name), content)

    def _exists(self, name: str) -> OutputExists:
        with _as_output():
            owner = owner_of(self._root)
        whose = f"the result of {owner['namespace']}/{owner['name']}" if owner else f"a {name}"
        return OutputExists(f"output.url {self._url} holds {whose} already.")

    def _write_owner(self, *, replace: bool) -> None:
        try:
            self._root.child(OWNER).write(written_owner(self._task), once=not replace)
        except FileExistsError:  # another job came first by a moment
            raise self._exists(OWNER) from None

    def _own_result(self) -> dict[str, Any] | None:
        result = read(self._root.child(RESULT))
        return result if result and result["job"]["uid"] == self._task.uid else None

    def _owner(self) -> str:
        return str(owner_of(self._root).get("uid", ""))


@contextlib.contextmanager
def _as_output() -> Iterator[None]:
    """Of the place for a result it is one failure that it cannot be read and that it cannot be written."""
    try:
        yield
    except DataNotReadable as error:
        raise OutputNotWritable(str(error)) from error


def _write(place: Location, content: bytes | Path) -> None:
    if isinstance(content, bytes):
        place.write(content)
    elif content.is_dir():
        for path in sorted(path for path in content.rglob("*") if path.is_file()):
            place.child(path.relative_to(content).as_posix()).write_file(path)
    else:
        place.write_file(content)


def _clear(place: Location) -> None:
    """Delete a file or a folder."""
    try:
        place.info()
    except FileMissing:
        place.delete_tree()
    else:
        place.delete()
