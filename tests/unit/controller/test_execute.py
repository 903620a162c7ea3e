"""What carrying out plans remembers, and for how long."""

from __future__ import annotations

import asyncio

from mlpools_operator.controller.execute import Executor
from mlpools_operator.controller.feed import Feed
from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.obstacles import Obstacles
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.store import Key, Store
from mlpools_operator.domain.observed import Meta, Resource
from mlpools_operator.domain.plan import Object, Plan
from mlpools_operator.metrics import Metrics
from tests.support.api_server import Clock

KEY = Key("NotebookRuntime", "team-a", "alice")
NOTEBOOK = Resource(Meta("alice", "uid", "team-a"), {})
SECRET: Object = {"kind": "Secret", "metadata": {"name": "nb-alice-token", "namespace": "team-a"}}


class Secrets:
    """A cluster that takes Secrets."""

    async def create_secret(self, manifest: Object) -> None:
        """Take one."""


def test_a_token_is_forgotten_with_its_notebook() -> None:
    store, queue, clock = Store(), Queue(), Clock()
    feed = Feed(store, Ledger(store, {}, clock), queue)
    executor = Executor(Secrets(), store, feed, Obstacles(), Metrics(), clock)  # type: ignore[arg-type]

    def make() -> None:
        asyncio.run(executor.execute(KEY, NOTEBOOK, Plan(secrets=(SECRET,))))

    store.put(KEY.kind, NOTEBOOK)
    make()
    assert executor.token_at("uid") == clock()
    store.remove(KEY.kind, "uid")
    assert executor.token_at("uid") == 0.0
    make()
    assert executor.token_at("uid") == 0.0
