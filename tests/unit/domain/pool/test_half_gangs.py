from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain.attempt import half_gang, scheduler_words
from mlpools_operator.domain.pool.half_gangs import STUCK_SECONDS, HalfGang, makes_room_for
from tests.support.domain_values import NOW, a_job, a_job_child, a_pod

STUCK = NOW - STUCK_SECONDS


def a_gang(name: str, admitted_at: float = NOW - 60, since: float = STUCK, **changes: object) -> HalfGang:
    blank = HalfGang(f"uid-{name}", "team-a", name, "cpu", admitted_at, since)
    return replace(blank, **changes)


def _takers(*gangs: HalfGang) -> dict[str, str | None]:
    found = {gang.name: makes_room_for(gang, gangs, NOW) for gang in gangs}
    return {name: taker and taker.name for name, taker in found.items()}


def test_the_younger_of_two_gives_way_and_of_equals_the_one_with_the_later_uid() -> None:
    assert _takers(a_gang("old", NOW - 61), a_gang("new")) == {"old": None, "new": "old"}
    assert _takers(a_gang("b"), a_gang("a")) == {"b": "a", "a": None}
    assert _takers(a_gang("alone")) == {"alone": None}


@pytest.mark.parametrize("name", ["old", "new"])
def test_nobody_gives_way_while_one_of_them_still_gets_machines(name: str) -> None:
    gangs = [a_gang("old", NOW - 61), a_gang("new")]
    moving = [replace(it, since=STUCK + 1) if it.name == name else it for it in gangs]
    assert set(_takers(*moving).values()) == {None}


def test_of_three_exactly_one_goes_on() -> None:
    assert _takers(a_gang("a", 1), a_gang("b", 2), a_gang("c", 3)) == {"a": None, "b": "a", "c": "a"}


def test_nobody_makes_room_for_one_that_makes_room_itself() -> None:
    east = {"zone": "east"}
    gangs = (a_gang("a", 1, selector=east), a_gang("b", 2), a_gang("c", 3, selector={"zone": "west"}))
    assert _takers(*gangs) == {"a": None, "b": "a", "c": None}


def test_room_that_does_not_help_is_not_made() -> None:
    gpu = frozenset({"nvidia.com/gpu"})
    shared = frozenset({"node-1"})
    assert _takers(a_gang("a", 1, selector={"x": "1"}), a_gang("b", 2, selector={"x": "2"}))["b"] is None
    assert _takers(a_gang("a", 1, devices=gpu), a_gang("b", 2))["b"] is None, "it has no GPU to give"
    assert _takers(a_gang("a", 1), a_gang("b", 2, devices=gpu))["b"] == "a"
    together = a_gang("a", 1, devices=gpu, machines=shared), a_gang("b", 2, machines=shared)
    assert _takers(*together)["b"] == "a", "they are on one machine"
    assert _takers(a_gang("a", 1, lacks_room=False), a_gang("b", 2))["b"] is None


_GANGS = st.lists(
    st.builds(
        HalfGang,
        st.uuids().map(str),
        st.just("team-a"),
        st.just("job"),
        st.sampled_from(["cpu", "gpu", "third"]),
        st.integers(0, 4).map(lambda age: NOW - 100 + age),
        st.sampled_from([STUCK, STUCK - 30, NOW]),
        st.booleans(),
        st.sets(st.sampled_from(["n1", "n2", "n3"])).map(frozenset),
        st.dictionaries(st.sampled_from(["zone", "disk"]), st.sampled_from(["x", "y"])),
        st.sets(st.sampled_from(["nvidia.com/gpu", "rdma/hca"])).map(frozenset),
    ),
    max_size=8,
    unique_by=lambda it: it.uid,
)


@given(_GANGS, st.randoms(use_true_random=False))
def test_who_keeps_its_machines_stands_in_the_way_of_nobody_older_that_does(
    gangs: list[HalfGang], dice: random.Random
) -> None:
    takers = {gang.uid: makes_room_for(gang, gangs, NOW) for gang in gangs}
    for gang in gangs:
        taker = takers[gang.uid]
        if taker is not None:
            assert takers[taker.uid] is None
            assert (taker.admitted_at, taker.uid) < (gang.admitted_at, gang.uid)
    stuck = [gang for gang in gangs if gang.stuck_for(NOW) >= STUCK_SECONDS]
    if stuck:
        oldest = min(stuck, key=lambda it: (it.admitted_at, it.uid))
        assert takers[oldest.uid] is None
    dice.shuffle(gangs)
    assert {gang.uid: makes_room_for(gang, gangs, NOW) for gang in gangs} == takers


def test_a_half_gang_is_seen_from_its_pods() -> None:
    job = a_job_child(selector={"zone": "x"}, devices=frozenset({"nvidia.com/gpu"}))
    lacking = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    left = a_pod(1, phase="Pending", node="", scheduled=0.0, unschedulable=lacking)
    seen = half_gang.look(a_job(), job, [a_pod(0, scheduled=NOW - 7), a_pod(2, scheduled=NOW - 9), left], NOW)
    assert seen == HalfGang(
        uid="uid-job",
        namespace="team-a",
        name="flights",
        pool="cpu",
        admitted_at=NOW,
        since=NOW - 7,
        machines=frozenset({"node-0", "node-2"}),
        selector={"zone": "x"},
        devices=frozenset({"nvidia.com/gpu"}),
    )
    for whole in ([a_pod(0), a_pod(1)], [left], [a_pod(0), replace(left, unschedulable="")]):
        assert half_gang.look(a_job(), job, whole, NOW) is None
    assert half_gang.look(a_job(), job, [a_pod(0, phase="Failed"), left], NOW) is None, "it ends anyway"


@pytest.mark.parametrize(
    ("words", "room"),
    [
        (
            "0/3 nodes are available: 1 Too many pods, 2 node(s) didn't match Pod's node affinity/selector.",
            True,
        ),
        ("0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports.", True),
        ("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.", True),
        ("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.", False),
        ("0/3 nodes are available: 3 node(s) had volume node affinity conflict.", False),
        ('persistentvolumeclaim "flights" not found. preemption: 0/3: 3 Insufficient cpu.', False),
    ],
)
def test_only_room_can_be_made(words: str, room: bool) -> None:
    assert scheduler_words.about_room(words) is room
