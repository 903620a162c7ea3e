"""Rank 0 hands out the shards: the ledger behind a door of HTTP, and what workers say at it.

Every request carries the token that rank 0's supervisor gives to the job's own pods only, as a Ray cluster's
does. Requests are idempotent: one whose answer was lost is sent again.

======================  ===========================================================================
``POST /terms``         what all workers have to agree on
``POST /ready``         a worker's model is loaded and fits the data; the first one opens the door
``POST /opened``        how parts are published, once that is known, and the stage that is open
``POST /schema``        the columns of all parts: what the first worker with predictions says
``POST /blank``         a shard has no prediction: the columns of all parts, or put it off, or say them
``POST /next``          a shard, or how long to wait, or that there are no more
``POST /committed``     a shard is part of the output
``POST /failed``        the model fails on a shard
``POST /unread``        a shard's rows cannot be read, or its part cannot be written
``POST /crashed``       the process that held shards is gone; its keeper says so
``POST /left``          a worker was told to stop
``POST /beat``          a worker lives
======================  ===========================================================================
"""

from __future__ import annotations

import dataclasses
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlpools.contract.ends import Exit, Final
from mlpools.errors import JobError, OutputNotWritable, from_final
from mlpools.inference.asking import Opening
from mlpools.inference.ledger import Failure, Ledger
from mlpools.supervisor.status import StatusServer

#: Workers for which there is nothing at the moment ask again after this, and so many of them a second.
_PAUSE_SECONDS = 0.05
_ASKED_PER_SECOND = 200
#: Of a request: a schema may have thousands of columns.
_MOST_BYTES = 16 << 20


class Dispenser:
    """Answers workers, in threads of its own.

    Attributes:
        ready: set when the first worker's model is loaded.
        schema: of all parts, as text; empty until a worker has said it.
    """

    def __init__(
        self,
        token: str,
        terms: Mapping[str, Any],
        *,
        on_settled: Callable[[], None],
        on_schema: Callable[[str], None],
    ) -> None:
        """Prepare; ``serve`` begins.

        Args:
            token: that workers show.
            terms: what ``/terms`` answers, in JSON's types.
            on_settled: called when a shard was settled, in a thread of this object's, without its lock.
            on_schema: called with the schema when a worker has said it, before anybody uses it.
        """
        self.ready = threading.Event()
        self._token = token
        self._terms = json.dumps(dict(terms))
        self._on_settled, self._on_schema = on_settled, on_schema
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._more = False
        self._fatal: JobError | None = None
        self._opening: Opening | None = None
        self.schema = ""

    def serve(self, port: int) -> None:
        """Listen at a port.

        Raises:
            OSError: it is taken.
        """
        answers = {
            "/terms": lambda _: self._terms,
            "/ready": self._ready,
            "/opened": self._opened,
            "/schema": self._agree,
            "/blank": self._blank,
            "/next": self._next,
            "/committed": self._committed,
            "/failed": self._failed,
            "/unread": self._unread,
            "/crashed": self._crashed,
            "/left": self._left,
            "/beat": self._beat,
        }
        self._server = StatusServer(
            port,
            {("POST", path): self._checked(answer) for path, answer in answers.items()},
            limit=_MOST_BYTES,
        )

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    def open(self, ledger: Ledger, opening: Opening, *, schema: str = "", more: bool = False) -> None:
        """Begin to hand out, or go on with another stage.

        Args:
            ledger: of the shards.
            opening: what workers have to know.
            schema: of the parts that are there already; empty if there is none.
            more: another stage follows, unless a shard of this one fails.
        """
        with self._lock:
            self._ledger, self._opening, self._more = ledger, opening, more
            self.schema = self.schema or schema

    def look(self) -> bool:
        """Give up silent workers, and tell whether all is settled; called from time to time."""
        with self._lock:
            if self._ledger is None:
                return False
            self._ledger.expire(time.monotonic())
            return self._ledger.finished or self._fatal is not None

    @property
    def fatal(self) -> JobError | None:
        """Why no part can be made any more, if so."""
        return self._fatal

    def _checked(self, answer: Callable[[Mapping[str, Any]], Any]) -> Callable[[bytes], str]:
        """Return an answer for those who know the token; others learn nothing."""

        def checked(body: bytes) -> str:
            asked = json.loads(body)
            if not hmac.compare_digest(str(asked.get("token", "")), self._token):
                return "{}"
            said = answer(asked)
            return said if isinstance(said, str) else json.dumps(said)

        return checked

    def _ready(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self.ready.set()
        return {"ok": True}

    def _opened(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._opening is None:
                return {"wait": _PAUSE_SECONDS}
            if self._opening.stage > int(asked["after"]):
                return dataclasses.asdict(self._opening)
            assert self._ledger is not None
            ends = self._fatal is not None or self._ledger.failed or not self._more
            return {"end": True} if ends else {"wait": _PAUSE_SECONDS}

    def _agree(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            if not self.schema:
                try:
                    self._on_schema(str(asked["schema"]))
                except OutputNotWritable as error:  # then no part can be, either
                    self._fatal = error
                self.schema = str(asked["schema"])
            return {"schema": self.schema}

    def _blank(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer who has a shard without any prediction, by which nobody can tell their types."""
        with self._lock:
            if self.schema or self._ledger is None or self._is_behind(asked):
                return {"schema": self.schema}
            return {"later": self._ledger.postpone(str(asked["worker"]), int(asked["shard"]))}

    def _next(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._ledger is None:
                return {"wait": _PAUSE_SECONDS}
            if self._fatal is not None or self._ledger.finished or self._is_behind(asked):
                return {"end": True}
            grant = self._ledger.give(str(asked["worker"]), time.monotonic())
            if grant is not None:
                return {"shard": grant.shard, "again": grant.again}
            return {"wait": max(_PAUSE_SECONDS, self._ledger.workers / _ASKED_PER_SECOND)}

    def _committed(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._tell(
            lambda ledger: ledger.commit(
                str(asked["worker"]), int(asked["shard"]), asked["part"], time.monotonic()
            ),
            asked,
        )

    def _failed(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._tell(
            lambda ledger: ledger.fail(str(asked["worker"]), Failure(**asked["failure"])), asked
        )

    def _unread(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        failure, ends = Failure(**asked["failure"]), Exit(asked["ends"])

        def retry(ledger: Ledger) -> None:
            ledger.retry(str(asked["worker"]), failure, alone=ends == Exit.DONE)
            if ends != Exit.DONE and (failure.shard in ledger.failed or ledger.stuck):
                self._fatal = from_final(Final(ends, 0, message=failure.message), of_many=False)

        return self._tell(retry, asked)

    def _crashed(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._tell(lambda ledger: ledger.crash(str(asked["worker"]), str(asked["words"])))

    def _left(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._tell(lambda ledger: ledger.leave(str(asked["worker"])))

    def _beat(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return self._tell(lambda ledger: ledger.heard(str(asked["worker"]), time.monotonic()))

    def _is_behind(self, asked: Mapping[str, Any]) -> bool:
        """Whether a worker is at a stage that is over."""
        return self._opening is not None and int(asked["stage"]) < self._opening.stage

    def _tell(
        self, change: Callable[[Ledger], None], of_shard: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Change the ledger; what is said of a shard has to be of this stage."""
        with self._lock:
            if self._ledger is None or (of_shard is not None and self._is_behind(of_shard)):
                return {"ok": True}
            before = len(self._ledger.done), len(self._ledger.failed)
            change(self._ledger)
            settled = (len(self._ledger.done), len(self._ledger.failed)) != before
        if settled:
            self._on_settled()
        return {"ok": True}
