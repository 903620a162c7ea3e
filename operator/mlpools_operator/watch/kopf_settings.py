"""How kopf runs here: it lists and watches, and keeps its hands off the objects."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import kopf

from mlpools_operator.cluster.kinds import CHILDREN
from mlpools_operator.domain.naming import SELECTOR

#: A watch ends after this on the server, and a little later on the client whatever the server does.
_SERVER_SECONDS, _CLIENT_SECONDS = 300, 330


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    # Which namespaces and kinds are served is fixed at start; finding out needs rights on all of them.
    chosen.scanning.disabled = True
    chosen.watching.server_timeout = _SERVER_SECONDS
    chosen.watching.client_timeout = _CLIENT_SECONDS
    chosen.watching.chunk_size = 500
    chosen.networking.connect_timeout = 5
    chosen.networking.request_timeout = 60
    chosen.networking.error_backoffs = _Backoffs()
    chosen.queueing.idle_timeout = 0.5  # one task an object, for so long after each event
    chosen.persistence.diffbase_storage = _NoDiffBase()
    chosen.persistence.progress_storage = _NoProgress()
    for child in CHILDREN.values():
        chosen.watching.label_selectors[child.group, child.version, child.plural] = SELECTOR
    return chosen


class _Backoffs(Iterable[float]):
    """Delays between tries, without an end: an API server that is down is waited for."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 1, 2, 3, 5, 8, 13), itertools.repeat(20))


class _NoDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing of an object: event handlers need no difference, and copying each is dear."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        raise AssertionError("kopf must not write to objects")


class _NoProgress(kopf.ProgressStorage):
    """There are no handlers whose progress would have to be stored."""

    def fetch(self, *, key: kopf.HandlerId, body: kopf.Body) -> kopf.ProgressRecord | None:
        return None

    def store(
        self, *, key: kopf.HandlerId, record: kopf.ProgressRecord, body: kopf.Body, patch: kopf.Patch
    ) -> None:
        raise AssertionError("kopf must not write to objects")

    def purge(self, *, key: kopf.HandlerId, body: kopf.Body, patch: kopf.Patch) -> None:
        raise AssertionError("kopf must not write to objects")

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        raise AssertionError("kopf must not write to objects")

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence
