from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.controller.ledger import Ledger
from mlpools_operator.controller.read import entry
from mlpools_operator.controller.store import Family, Key, Store
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool.half_gangs import HalfGang
from mlpools_operator.domain.pool.ledger import Candidate, Decision, Verdict
from tests.support import objects as make

YES, NO = Verdict(True), Verdict(False, "WaitingForNodes")


def simple(job: Resource, family: Family, now: float) -> Candidate | None:
    """A candidate straight from the status: {"admitted": …, "attempt": …, "ended": …}."""
    if job.status.get("ended"):
        return None
    return Candidate(
        uid=job.meta.uid,
        kind="TrainingJob",
        namespace=job.meta.namespace,
        name=job.meta.name,
        nodes=job.spec["nodes"],
        priority=0,
        created=job.meta.created,
        held=sum(not pod.terminal for pod in family.pods),
        admitted=bool(job.status.get("admitted")),
        attempt=job.status.get("attempt", 1),
        generation=job.meta.generation,
        half=_half(job) if job.status.get("half") else None,
    )


def _half(job: Resource) -> HalfGang:
    return HalfGang(job.meta.uid, job.meta.namespace, job.meta.name, job.spec["computePool"], 0.0, 0.0)


class Books:
    """A ledger over a store, with what a test does to them."""

    def __init__(self) -> None:
        self.store = Store()
        self.ledger = Ledger(self.store, {"TrainingJob": simple}, lambda: 0.0)
        self.version = 0

    def put(self, kind: str, raw: dict[str, Any]) -> None:
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        self.store.put(kind, entry(kind, raw))
        self.ledger.touch(
            raw["metadata"].get("labels", {}).get("mlpools.dev/job-uid") or raw["metadata"]["uid"]
        )

    def job(self, **changes: Any) -> None:
        self.put("TrainingJob", make.job(**changes))

    def decide(self, verdict: Verdict = YES) -> list[Key]:
        verdicts = {candidate.uid: verdict for candidate in self.ledger.candidates("cpu")}
        return self.ledger.record("cpu", Decision(verdicts))

    def only(self) -> Candidate:
        (candidate,) = self.ledger.candidates("cpu")
        return candidate


@pytest.fixture
def books() -> Books:
    return Books()


def test_a_grant_counts_from_the_moment_it_is_given(books: Books) -> None:
    books.job(nodes=3)
    assert (books.only().admitted, books.only().held) == (False, 0)
    books.decide(YES)
    assert (books.only().admitted, books.only().held) == (True, 3)


def test_a_grant_is_spent_once_the_status_shows_it(books: Books) -> None:
    books.job(nodes=3)
    books.decide(YES)
    books.job(nodes=3, status={"admitted": True})
    assert (books.only().admitted, books.only().held) == (True, 0), "what it holds is told by the world now"
    books.job(nodes=3, status={"attempt": 2})  # it failed, and asks for its second attempt
    assert not books.only().admitted


def test_a_grant_is_void_for_a_changed_spec(books: Books) -> None:
    books.job(nodes=3)
    books.decide(YES)
    books.job(nodes=4, generation=2)
    assert (books.only().admitted, books.only().nodes) == (False, 4)


def test_a_grant_goes_with_its_job(books: Books) -> None:
    books.job()
    books.decide(YES)
    books.store.remove("TrainingJob", "job")
    books.ledger.touch("job")
    assert books.ledger.candidates("cpu") == ()
    assert books.ledger.verdict("job") is None


def test_a_new_ledger_knows_all_but_grants(books: Books) -> None:
    books.job(uid="a", name="a", nodes=2, status={"admitted": True})
    books.put("Pod", make.pod("p", owner="a"))
    again = Ledger(books.store, {"TrainingJob": simple}, lambda: 0.0)
    again.touch("a")
    assert again.candidates("cpu") == books.ledger.candidates("cpu")


def test_only_those_with_news_are_to_look(books: Books) -> None:
    books.job(uid="a", name="a")
    books.job(uid="b", name="b")
    assert {key.name for key in books.decide(NO)} == {"a", "b"}
    assert books.decide(NO) == []
    assert {key.name for key in books.decide(YES)} == {"a", "b"}
    assert books.ledger.verdict("a") == YES


def test_half_gangs_of_all_pools_are_told_to_each_of_them(books: Books) -> None:
    books.job(uid="a", name="a", pool="cpu", status={"half": True})
    books.job(uid="b", name="b", pool="gpu", status={"half": True})
    books.job(uid="c", name="c", pool="gpu")
    assert {it.pool for it in books.ledger.half_gangs("a")} == {"cpu", "gpu"}
    assert books.ledger.half_gangs("c") == ()
    books.job(uid="b", name="b", pool="gpu")
    assert [it.uid for it in books.ledger.half_gangs("a")] == ["a"]
    books.store.remove("TrainingJob", "a")
    books.ledger.touch("a")
    assert books.ledger.half_gangs("a") == ()


def test_a_job_that_ended_is_no_candidate(books: Books) -> None:
    books.job()
    books.job(status={"ended": True})
    assert books.ledger.candidates("cpu") == ()


def test_pods_of_a_deleted_job_hold_their_nodes_until_they_are_gone(books: Books) -> None:
    books.job(nodes=2)
    books.put("Job", make.child_job("child", nodes=2))
    books.put("Pod", make.pod("p0"))
    books.put("Pod", make.pod("p1", rank=1))
    for kind, uid in (("TrainingJob", "job"), ("Job", "child")):
        books.store.remove(kind, uid)
        books.ledger.touch("job")
    assert (books.only().held, books.only().blocked) == (2, "Deleted")
    books.store.remove("Pod", "p0")
    books.ledger.touch("job")
    assert books.only().held == 1
    books.put("Pod", make.pod("p1", rank=1, phase="Succeeded"))
    assert books.ledger.candidates("cpu") == ()


def test_a_job_without_an_owner_holds_what_it_may_still_make(books: Books) -> None:
    books.put("Job", make.child_job("child", nodes=3))
    books.put("Pod", make.pod("p0"))
    assert books.only().held == 3


def test_a_job_that_moves_to_another_pool_leaves_the_first(books: Books) -> None:
    books.job()
    books.decide(YES)
    books.job(pool="gpu", generation=2)
    assert books.ledger.candidates("cpu") == ()
    (moved,) = books.ledger.candidates("gpu")
    assert not moved.admitted
    assert books.ledger.verdict("job") is None


def test_pools_with_long_names_are_told_apart(books: Books) -> None:
    one, other = "p" * 70 + "-one", "p" * 70 + "-other"
    books.job(pool=one)
    assert len(books.ledger.candidates(one)) == 1
    assert books.ledger.candidates(other) == ()


def test_a_grant_adds_to_what_an_earlier_attempt_still_holds(books: Books) -> None:
    books.job(nodes=3)
    books.put("Pod", make.pod("pod", "job"))
    assert books.only().held == 1
    books.decide(YES)
    assert books.only().held == 4


def test_who_was_told_to_give_its_nodes_back_is_marked_until_its_status_tells(books: Books) -> None:
    books.job(nodes=3, status={"admitted": True})
    books.decide(Verdict(False, "Preempted", evict=True))
    assert books.only().evicting
    books.job(nodes=3, status={"admitted": False, "attempt": 2})
    assert not books.only().evicting
    books.job(nodes=3, status={"admitted": True, "attempt": 2})
    assert not books.only().evicting, "the next attempt was told nothing"


def test_what_frees_or_takes_nodes_is_looked_at_before_what_moves_up(books: Books) -> None:
    for number, name in enumerate(("first", "second", "third")):
        books.job(name=name, uid=f"uid-{number}", nodes=3)
    verdicts = {
        "uid-0": Verdict(False, "WaitingForNodes", position=1),
        "uid-1": Verdict(False, "BehindInQueue", position=2),
        "uid-2": YES,
    }
    assert len(books.ledger.candidates("cpu")) == 3
    changed = books.ledger.record("cpu", Decision(verdicts))
    assert changed[0].name == "third"
    assert {key.name for key in changed[1:]} == {"first", "second"}
