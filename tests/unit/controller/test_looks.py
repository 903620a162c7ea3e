"""Looks at notebooks: what a pod says is checked, and a pass follows when there is news."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mlpools.contract.reports import Activity
from mlpools_operator.controller import asking
from mlpools_operator.controller.looks import Looks, checked
from mlpools_operator.controller.queue import Queue
from mlpools_operator.controller.read import entry
from mlpools_operator.controller.store import Key, Store
from mlpools_operator.domain import naming
from mlpools_operator.metrics import Metrics
from tests.support import objects as make
from tests.support.api_server import Json
from tests.support.rank_0 import Rank0, rank_0

NOTEBOOK = Key("NotebookRuntime", "team", "alice")
UID = "alice-uid"
SEEN = Activity(attempt=1, serving=True, unused_seconds=0.0, untouched_seconds=0.0)


@pytest.fixture
def pod() -> Iterator[Rank0]:
    with rank_0() as answering:
        answering.value = SEEN
        yield answering


class Place:
    """A notebook that runs, and who looks at it."""

    def __init__(self, pod: Rank0) -> None:
        self.pod, self.store, self.queue, self.now = pod, Store(), Queue(), 1000.0
        meta = {"name": "alice", "namespace": "team", "uid": UID, "resourceVersion": "1"}
        self.put("NotebookRuntime", {"metadata": meta, "spec": {"computePool": "cpu"}})
        self.run("p")
        self.restart()

    def restart(self) -> None:
        self.looks = Looks(self.store, self.queue, Metrics(), lambda: self.now)

    def put(self, kind: str, raw: Json) -> None:
        self.store.put(kind, entry(kind, raw))

    def run(self, name: str, version: int = 1, **labels: str) -> None:
        raw = make.pod(name, version, phase="Running", podIP=self.pod.address)
        raw["metadata"]["labels"] |= {naming.KIND: "NotebookRuntime", naming.JOB_UID: UID, **labels}
        self.put("Pod", raw)

    def round(self) -> bool:
        """Look at all once, and say whether a pass over the notebook follows."""
        before = len(self.queue)

        async def once() -> None:
            async with asking.session() as session:
                await self.looks.round(session)

        asyncio.run(once())
        news = len(self.queue) > before
        if news:
            self.queue.done(asyncio.run(self.queue.get()))
        return news


def test_what_a_pod_says_is_bounded_and_checked() -> None:
    long = replace(SEEN, unused_seconds=-5.0, said="frame\n" * 1000 + "No licence.", trouble="x" * 2000)
    look = checked(long, 1000.0)
    assert (look.used, look.touched) == (1000.0, 1000.0)
    assert look.said.endswith("frame No licence.")
    assert len(look.said.encode()) <= 512
    assert len(look.trouble.encode()) <= 512


@pytest.mark.parametrize(
    "wrong",
    [
        {"unused_seconds": float("nan")},
        {"untouched_seconds": "9"},
        {"unused_seconds": True},
        {"attempt": "1"},
    ],
)
def test_what_makes_no_sense_is_no_look(pod: Rank0, wrong: dict[str, object]) -> None:
    place = Place(pod)
    place.round()
    before = place.looks.newest(UID)
    pod.value = replace(SEEN, **wrong)  # type: ignore[arg-type]
    place.now += 10
    assert not place.round()
    assert place.looks.newest(UID) == before


def test_use_is_told_within_a_minute(pod: Rank0) -> None:
    """Looks are ten seconds apart, and what is less than forty seconds newer is not worth a write."""
    place = Place(pod)
    assert place.round()
    told = place.now
    for _ in range(12):
        place.now += 10.0
        assert place.now - told < 60.0
        if place.round():
            told = place.now


def test_a_notebook_that_nobody_uses_is_looked_at_once_a_minute(pod: Rank0) -> None:
    place = Place(pod)
    place.round()
    news = 0
    for second in range(10, 130, 10):
        place.now += 10.0
        pod.value = replace(SEEN, unused_seconds=float(second))
        news += place.round()
    assert news == 2


def test_trouble_is_news_at_once(pod: Rank0) -> None:
    place = Place(pod)
    place.round()
    place.now += 10.0
    pod.value = replace(SEEN, unused_seconds=10.0, trouble="It is nearly full.")
    assert place.round()


def test_after_a_restart_the_first_pass_has_a_look(pod: Rank0) -> None:
    place = Place(pod)
    place.round()
    place.restart()
    assert place.looks.newest(UID) is None
    asyncio.run(place.looks.look_first(UID))
    assert place.looks.newest(UID) is not None


def test_a_look_that_fails_leaves_the_one_before(pod: Rank0) -> None:
    place = Place(pod)
    place.round()
    before = place.looks.newest(UID)
    place.pod.address = "127.255.255.254"  # nobody answers there
    place.run("p", 2)
    place.now += 30.0
    assert not place.round()
    assert place.looks.newest(UID) == before


def test_the_head_speaks_for_the_further_nodes_of_its_cluster(pod: Rank0) -> None:
    place = Place(pod)
    place.store.remove("Pod", "p")
    place.run("node", **{naming.PART: naming.NODE})
    place.round()
    assert place.looks.newest(UID) is None
