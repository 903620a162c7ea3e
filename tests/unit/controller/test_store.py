from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from mlpools_operator.controller.read import entry
from mlpools_operator.controller.store import Change, Key, Store
from tests.support import objects as make

JOB = Key("TrainingJob", "team", "job")


@pytest.fixture
def store() -> Store:
    return Store()


def put(store: Store, kind: str, raw: dict[str, Any]) -> None:
    store.put(kind, entry(kind, raw))


def version(store: Store, key: Key) -> str:
    found = store.get(key)
    return found.meta.resource_version if found else ""


def test_the_newer_version_wins_in_any_order(store: Store) -> None:
    for number in (3, 10, 9, 2):  # 10 is newer than 9, and text would say otherwise
        put(store, "TrainingJob", make.job(version=number))
    assert version(store, JOB) == "10"


def test_what_is_gone_stays_gone(store: Store) -> None:
    put(store, "TrainingJob", make.job(version=1))
    store.remove("TrainingJob", "job")
    put(store, "TrainingJob", make.job(version=9))  # the answer to a write that the deletion overtook
    assert store.get(JOB) is None


def test_a_deletion_that_comes_first_counts(store: Store) -> None:
    store.remove("TrainingJob", "job")
    put(store, "TrainingJob", make.job(version=1))
    assert store.get(JOB) is None


def test_a_successor_replaces_its_namesake(store: Store) -> None:
    put(store, "TrainingJob", make.job(uid="old", version=1))
    put(store, "TrainingJob", make.job(uid="new", version=5))
    put(store, "TrainingJob", make.job(uid="old", version=4))
    found = store.resource(JOB)
    assert found is not None
    assert found.meta.uid == "new"
    assert store.find("TrainingJob", "old") is None
    store.remove("TrainingJob", "old")  # its deletion is told late
    assert store.resource(JOB) == found


def test_late_words_of_a_replaced_namesake_change_nothing(store: Store) -> None:
    put(store, "TrainingJob", make.job(uid="new", version=5))
    put(store, "TrainingJob", make.job(uid="old", version=4))
    found = store.resource(JOB)
    assert found is not None
    assert found.meta.uid == "new"
    assert store.sizes()["TrainingJob"] == 1


def test_a_family_is_complete_and_ordered(store: Store) -> None:
    put(store, "Pod", make.pod("p1", rank=1))
    put(store, "Pod", make.pod("p0", rank=0))
    put(store, "Pod", make.pod("stranger", owner="other"))
    put(store, "Job", make.child_job("j2", attempt=2))
    put(store, "Job", make.child_job("j1", attempt=1))
    put(store, "Service", make.service("s"))
    family = store.family("job")
    assert [pod.meta.uid for pod in family.pods] == ["p0", "p1"]
    assert [job.meta.uid for job in family.jobs] == ["j1", "j2"]
    assert [child.meta.uid for child in family.children] == ["s"]
    for kind, uid in (("Pod", "p0"), ("Pod", "p1"), ("Job", "j1"), ("Job", "j2"), ("Service", "s")):
        store.remove(kind, uid)
    assert store.family("job").pods == ()
    assert len(store.family("other").pods) == 1


def test_pods_stay_in_the_family_after_their_job_is_gone(store: Store) -> None:
    put(store, "Job", make.child_job("j1"))
    put(store, "Pod", make.pod("p0", job="j1"))
    store.remove("Job", "j1")
    assert [pod.meta.uid for pod in store.family("job").pods] == ["p0"]


def test_every_real_change_is_told_once(store: Store) -> None:
    told: list[Change] = []
    store.subscribe(told.append)
    put(store, "TrainingJob", make.job(version=1))
    put(store, "TrainingJob", make.job(version=1))
    put(store, "TrainingJob", make.job(version=2, nodes=3))
    store.remove("TrainingJob", "job")
    store.remove("TrainingJob", "job")
    assert [(change.before is None, change.after is None) for change in told] == [
        (True, False),
        (False, False),
        (False, True),
    ]


def test_an_update_of_what_nobody_reads_does_not_matter(store: Store) -> None:
    told: list[Change] = []
    store.subscribe(told.append)
    put(store, "Pod", make.pod("p", 1))
    put(store, "Pod", make.pod("p", 2, qosClass="Guaranteed"))
    put(store, "Pod", make.pod("p", 3, podIP="10.0.0.1"))
    assert [change.matters for change in told] == [True, False, True]


def test_any_order_of_the_same_news_ends_in_the_same_store() -> None:
    news = [
        ("put", make.job(uid="old", version=1)),
        ("put", make.job(uid="old", version=2, nodes=2)),
        ("remove", make.job(uid="old", version=3)),
        ("put", make.job(uid="new", version=4)),
        ("put", make.job(uid="new", version=5, nodes=5)),
    ]
    orders = list(itertools.permutations(news))
    for order in random.Random(0).sample(orders, len(orders)):
        store = Store()
        for what, raw in order:
            if what == "put":
                put(store, "TrainingJob", raw)
            else:
                store.remove("TrainingJob", raw["metadata"]["uid"])
        found = store.resource(JOB)
        assert found is not None
        assert (found.meta.uid, found.spec["nodes"], store.sizes()) == ("new", 5, {"TrainingJob": 1})


def test_a_run_belongs_to_its_template_and_goes_with_it_out_of_the_store(store: Store) -> None:
    owner = {"apiVersion": "v", "kind": "TrainingJob", "name": "job", "uid": "job", "controller": True}
    put(store, "TrainingJob", make.job())
    for name in ("run-2", "run-1"):
        put(store, "TrainingJob", make.job(name, name, ownerReferences=[owner]))
    assert [run.meta.name for run in store.family("job").runs] == ["run-1", "run-2"]
    assert store.family("run-1").runs == ()
    store.remove("TrainingJob", "run-1")
    assert [run.meta.name for run in store.family("job").runs] == ["run-2"]
