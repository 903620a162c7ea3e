"""A worker's side of the hand-out."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mlpools.contract.ends import Exit
from mlpools.data.plan import packed, unpacked
from mlpools.errors import DataNotReadable, OutputNotWritable, PeerLost
from mlpools.inference.ledger import Failure, Grant
from mlpools.storage.failures import CredentialsExpired
from mlpools.supervisor.status import ask

#: Rank 0 is gone when it does not answer for so long; its machine, which may be this one, may just be busy.
#: The supervisors know of a pod that went long before.
LOST_SECONDS = 60.0
_ANSWER_SECONDS = 15.0
_RETRY_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Opening:
    """What a worker has to know of a stage.

    Attributes:
        once: whether the output's place makes a file only once.
        stage: its number, from 0.
        files: what the stage before has left.
    """

    once: bool
    stage: int = 0
    files: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Dispensary:
    """Where rank 0 hands out shards, and as whom this process comes.

    Attributes:
        host: of rank 0.
        port: of its dispenser.
        token: of the job's pods.
        worker: name of this worker, new for every process.
        stage: that this process is at; what it says of a shard counts in no other.
    """

    host: str
    port: int
    token: str
    worker: str = ""
    stage: int = 0

    def terms(self) -> dict[str, Any]:
        """Return what all workers have to agree on."""
        return self._ask("/terms")

    def ready(self) -> None:
        """Say that the model is loaded and fits the data."""
        self._ask("/ready")

    def opened(self, after: int = -1) -> Opening | float | None:
        """Return the stage that is open, or when to ask again, in seconds, or None if there are no more.

        Args:
            after: the stage that is behind this worker; -1 for none.
        """
        answer = self._ask("/opened", after=after)
        if "end" in answer:
            return None
        return float(answer["wait"]) if "wait" in answer else Opening(**answer)

    def wait_opened(self, alive: Callable[[], None], after: int = -1) -> Opening | None:
        """Return the stage that is open, once there is one, or None if there are no more.

        Args:
            alive: called while there is none.
            after: as in ``opened``.
        """
        while isinstance(answer := self.opened(after), float):
            alive()
            time.sleep(answer)
        return answer

    def agree(self, schema: pa.Schema) -> pa.Schema:
        """Return the columns of all parts: these, unless another worker was faster."""
        text = self._ask("/schema", schema=packed(schema))["schema"]
        return unpacked(text)

    def blank(self, shard: int, schema: pa.Schema) -> pa.Schema | None:
        """Return the columns of all parts for a shard that has no prediction.

        Args:
            shard: its number.
            schema: what they are if no row of the whole input has a prediction.

        Returns:
            None: nobody knows them yet, and the shard is handed out again when others are done.
        """
        answer = self._ask("/blank", shard=shard)
        if answer.get("later"):
            return None
        return unpacked(answer["schema"]) if answer.get("schema") else self.agree(schema)

    def next(self) -> Grant | float | None:
        """Return a shard, or the seconds after which to ask again, or None if there are no more."""
        answer = self._ask("/next")
        if "shard" in answer:
            return Grant(int(answer["shard"]), again=bool(answer["again"]))
        return float(answer["wait"]) if "wait" in answer else None

    def grants(self, alive: Callable[[], None], over: threading.Event) -> Iterator[Grant]:
        """Yield shards until there are no more.

        Args:
            alive: called while there is none at the moment.
            over: set when no more are wanted.
        """
        while not over.is_set() and (answer := self.next()) is not None:
            if isinstance(answer, Grant):
                yield answer
            else:
                alive()
                over.wait(answer)

    def committed(self, shard: int, part: Mapping[str, Any]) -> None:
        """Say that a shard is part of the output."""
        self._ask("/committed", shard=shard, part=dict(part))

    def failed(self, failure: Failure) -> None:
        """Say that the model fails on a shard."""
        self._ask("/failed", failure=dataclasses.asdict(failure))

    def unread(self, shard: int, error: DataNotReadable | OutputNotWritable) -> None:
        """Say that a shard's rows cannot be read or its part cannot be written, and whether others' could."""
        ends = error.code if isinstance(error, OutputNotWritable | CredentialsExpired) else Exit.DONE
        failure = Failure(shard, str(error))
        self._ask("/unread", failure=dataclasses.asdict(failure), ends=int(ends))

    def crashed(self, words: str) -> None:
        """Say that this worker's process is gone; its keeper does."""
        self._ask("/crashed", words=words)

    def left(self) -> None:
        """Say that this worker was told to stop."""
        self._ask("/left")

    def beat(self) -> None:
        """Say that this worker lives."""
        self._ask("/beat")

    def _ask(self, path: str, **values: Any) -> dict[str, Any]:
        body = json.dumps({"token": self.token, "worker": self.worker, "stage": self.stage, **values})
        return _patiently(lambda: json.loads(ask(self.host, self.port, "POST", path, body, _ANSWER_SECONDS)))


def _patiently(request: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Repeat a request until it is answered.

    Raises:
        PeerLost: nobody answers for too long, or somebody who does not know this job.
    """
    deadline = time.monotonic() + LOST_SECONDS
    while True:
        try:
            answer = request()
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise PeerLost(
                    f"Rank 0, which hands out the shards, did not answer for {LOST_SECONDS:.0f} s."
                ) from error
            time.sleep(_RETRY_SECONDS)
        else:
            if not answer:
                raise PeerLost("Rank 0 was started anew and does not know this worker.")
            return answer
