"""The output of a job: names, the claim on the location, and one commit of everything.

====================================  =====================================================
``owner.json``                        whose result this location holds; written first
``model.ubj``, …                      the model, as its framework writes it
``metrics.json``, …                   what else the training leaves
``result.json``                       the full report; written last, so its presence means: complete
``checkpoints/<uid>/step-<n>/``       see ``mlpools.train.checkpoints``
``logs/attempt-<n>/rank-<r>.log``     the end of each rank's output
====================================  =====================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlpools.contract import Task
from mlpools.errors import DataNotReadable, OutputExists, OutputNotWritable
from mlpools.locations import child_url
from mlpools.runtime.frameworks import find
from mlpools.storage import FileMissing, locate
from mlpools.train.job import pretty

OWNER = "owner.json"
METRICS = "metrics.json"
RESULT = "result.json"
LOGS = "logs"


class Outputs:
    """One job's output location. Only rank 0 uses it."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._url = str(task.output["url"])
        self._root = locate(self._url)
        self._model = find(task.framework).model

    @property
    def urls(self) -> dict[str, str]:
        """Where a user finds what, for the job's status."""
        names = {"modelURL": self._model, "metricsURL": METRICS, "resultURL": RESULT, "logsURL": LOGS}
        places = {key: child_url(self._url, name) for key, name in names.items()}
        return {**places, "checkpointURL": str(self._task.checkpoint["url"])}

    def claim(self) -> dict[str, Any] | None:
        """Take the location for this job, before any data is read.

        Returns:
            The job's own result, if an earlier attempt committed it already, else None.

        Raises:
            OutputExists: it holds another run's result and ``mode`` is ``Error``.
            OutputNotWritable: the volume or the store refuses.
        """
        try:
            if self._owner() == self._task.uid:
                return self._own_result()
            held = [name for name in (OWNER, self._model, METRICS, RESULT) if self._root.child(name).exists()]
        except DataNotReadable as error:
            raise OutputNotWritable(str(error)) from error
        if held and self._task.output.get("mode", "Error") == "Error":
            raise self._exists(held[0])
        if self._task.output.get("mode") == "Overwrite":
            self._root.child(LOGS).delete_tree()
        self._write_owner(replace=bool(held))
        return None

    def commit(self, files: Mapping[str, bytes], result: Mapping[str, Any]) -> None:
        """Write the files and, as the last one, the result.

        With ``Overwrite`` and ``Resume`` an older result goes only now, and its ``result.json`` first.

        Raises:
            OutputNotWritable: the volume or the store refuses.
        """
        if self._owner() != self._task.uid:
            raise OutputExists(f"Another job took output.url {self._url} over while this one was training.")
        self._root.child(RESULT).delete()
        for name, data in {**files, RESULT: pretty(result)}.items():
            self._root.child(name).write(data)

    def _exists(self, name: str) -> OutputExists:
        owner = self._read(OWNER) or {}
        whose = f"the result of {owner['namespace']}/{owner['name']}" if owner else f"a {name}"
        return OutputExists(f"output.url {self._url} holds {whose} already.")

    def _write_owner(self, *, replace: bool) -> None:
        task = self._task
        owner = pretty({"uid": task.uid, "namespace": task.namespace, "name": task.name})
        try:
            self._root.child(OWNER).write(owner, once=not replace)
        except FileExistsError:  # another job came first by a moment
            raise self._exists(OWNER) from None

    def _own_result(self) -> dict[str, Any] | None:
        result = self._read(RESULT)
        return result if result and result["job"]["uid"] == self._task.uid else None

    def _owner(self) -> str:
        return str((self._read(OWNER) or {}).get("uid", ""))

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            document: dict[str, Any] = json.loads(self._root.child(name).read())
        except (FileMissing, ValueError):
            return None
        return document
