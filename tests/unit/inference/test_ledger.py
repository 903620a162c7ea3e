"""Whatever workers do, every shard is settled once, and a worker's end costs nothing but time."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.inference import ledger
from mlpools.inference.ledger import Failure, Grant, Ledger


def a_ledger(shards: int, done: tuple[int, ...] = (), allowed: int = 0) -> Ledger:
    return Ledger(dict.fromkeys(range(shards), 10), {shard: {} for shard in done}, allowed=allowed)


def drain(book: Ledger, worker: str, now: float) -> list[int]:
    """Have a worker take and commit all that it gets."""
    found = []
    while (grant := book.give(worker, now)) is not None:
        book.commit(worker, grant.shard, {}, now)
        found.append(grant.shard)
    return found


def test_shards_come_in_order_and_only_those_that_are_not_done() -> None:
    book = a_ledger(5, done=(1, 3))
    assert drain(book, "a", 0.0) == [0, 2, 4]
    assert book.finished
    assert book.give("a", 0.0) is None


def test_a_worker_holds_a_few_at_most() -> None:
    book = a_ledger(10)
    assert [book.give("a", 0.0) for _ in range(4)] == [Grant(0), Grant(1), Grant(2), None]
    book.commit("a", 1, {}, 1.0)
    assert book.give("a", 1.0) == Grant(3)


def test_a_silent_worker_returns_what_it_held_and_its_late_word_still_counts() -> None:
    book = a_ledger(2)
    book.give("slow", 0.0)
    assert book.expire(ledger.LEASE_SECONDS) == []
    assert book.expire(ledger.LEASE_SECONDS + 1) == ["slow"]
    assert book.give("fast", 12.0) == Grant(0, again=True)
    book.commit("slow", 0, {"part": "slow"}, 13.0)
    assert book.give("fast", 23.0) == Grant(1)
    book.commit("fast", 0, {"part": "fast"}, 24.0)
    assert book.done[0] == {"part": "slow"}


def test_the_second_crash_with_a_shard_ends_it_and_spares_those_beside_it() -> None:
    book = a_ledger(4, allowed=1)
    for _ in range(3):
        book.give("a", 0.0)
    book.crash("a", "was killed by SIGSEGV")
    assert not book.failed
    assert book.give("b", 0.0) == Grant(0, again=True)
    assert book.give("b", 0.0) is None  # a suspect is alone in a worker's hand
    book.commit("b", 0, {}, 1.0)
    assert book.give("b", 1.0) == Grant(1, again=True)
    book.crash("b", "was killed by SIGSEGV")
    assert list(book.failed) == [1]
    assert "was killed by SIGSEGV, 2 times" in book.failed[1].message
    assert drain(book, "c", 2.0) == [2, 3]
    assert book.finished
    assert not book.too_many_failed


def test_a_suspect_waits_until_a_worker_is_free() -> None:
    book = a_ledger(2)
    book.give("a", 0.0)
    book.give("b", 0.0)
    book.crash("a", "x")
    assert book.give("b", 0.0) is None
    book.commit("b", 1, {}, 1.0)
    assert book.give("b", 1.0) == Grant(0, again=True)


def test_a_slow_shard_is_copied_to_an_idle_worker() -> None:
    book = a_ledger(3)
    assert book.give("slow", 0.0) == Grant(0)
    book.give("fast", 0.0)
    book.commit("fast", 1, {}, 1.0)
    book.give("fast", 1.0)
    book.commit("fast", 2, {}, 2.0)
    assert book.give("fast", 3.0) is None  # not slow yet
    assert book.give("fast", 10.0) == Grant(0, again=True)
    assert book.give("third", 10.0) is None  # two hold it
    book.commit("fast", 0, {"by": "fast"}, 11.0)
    assert book.finished
    book.commit("slow", 0, {"by": "slow"}, 60.0)
    assert book.done[0] == {"by": "fast"}


def test_a_shard_that_cannot_be_read_is_tried_by_others_and_then_given_up() -> None:
    book = a_ledger(2, allowed=1)
    for worker in "abc":
        while (grant := book.give(worker, 0.0)) is not None and grant.shard != 0:
            book.commit(worker, grant.shard, {}, 0.0)
        assert grant is not None
        book.retry(worker, Failure(0, "no file"))
    assert book.failed == {0: Failure(0, "no file")}
    assert book.done.keys() == {1}


def test_a_place_that_takes_no_part_of_any_worker_is_not_tried_with_every_shard() -> None:
    book = a_ledger(1000)
    for i in range(5):
        grant = book.give("ab"[i % 2], 0.0)
        assert grant is not None
        book.retry("ab"[i % 2], Failure(grant.shard, "no space"), alone=False)
    assert not book.stuck
    grant = book.give("a", 0.0)
    assert grant is not None
    book.retry("a", Failure(grant.shard, "no space"), alone=False)
    assert book.stuck
    book.commit("b", 999, {}, 0.0)
    assert not book.stuck


def test_it_stops_early_when_most_shards_fail() -> None:
    book = a_ledger(100, allowed=2)
    for shard in range(2):
        book.give("a", 0.0)
        book.fail("a", Failure(shard, "no"))
    assert not book.finished
    book.give("a", 0.0)
    book.fail("a", Failure(2, "no"))
    assert book.finished
    assert book.gave_up
    assert book.too_many_failed


def test_with_more_that_succeed_it_goes_on_to_the_end() -> None:
    book = a_ledger(10)
    for shard in range(6):
        book.give("a", 0.0)
        book.commit("a", shard, {}, 0.0)
    for shard in range(6, 10):
        book.give("a", 0.0)
        book.fail("a", Failure(shard, "no"))
    assert not book.gave_up
    assert sorted(book.failed) == [6, 7, 8, 9]


def test_workers_that_vanish_again_and_again_end_a_shard() -> None:
    book = a_ledger(1)
    for i in range(ledger.MOST_LOSSES):
        assert book.give(f"w{i}", 100.0 * i) is not None
        book.expire(100.0 * i + 50)
    assert "5 workers vanished" in book.failed[0].message


@dataclasses.dataclass
class Chaos:
    """Workers that do whatever they like, from a seed."""

    seed: int
    shards: int
    poison: frozenset[int]
    killers: frozenset[int]

    def run(self) -> Ledger:
        rng, now = random.Random(self.seed), 0.0
        book = a_ledger(self.shards, allowed=self.shards)
        hands: dict[str, list[int]] = {f"w{i}": [] for i in range(4)}
        count = 4
        for _ in range(5000):
            if book.finished:
                return book
            now += rng.random()
            worker = rng.choice(sorted(hands))
            held = hands[worker]
            act = rng.random()
            if act < 0.05:  # it vanishes, or crashes, or is told to stop
                del hands[worker]
                rng.choice([lambda: None, lambda w=worker: book.leave(w)])()
                hands[f"w{count}"], count = [], count + 1
            elif held and act < 0.5:
                shard = held.pop(0)
                if shard in self.killers:
                    del hands[worker]
                    book.crash(worker, "died")
                    hands[f"w{count}"], count = [], count + 1
                elif shard in self.poison:
                    book.fail(worker, Failure(shard, "poison"))
                elif act < 0.1:
                    book.retry(worker, Failure(shard, "unread"))
                else:
                    book.commit(worker, shard, {"by": worker}, now)
            elif (grant := book.give(worker, now)) is not None:
                assert grant.shard not in book.done
                assert grant.shard not in book.failed
                held.append(grant.shard)  # perhaps again: one that was silent for long was believed dead
            book.expire(now)
            assert not book.in_hand() & (book.done.keys() | book.failed.keys())
        raise AssertionError("it never ends")


@settings(max_examples=60)
@given(
    st.integers(0, 1 << 32),
    st.integers(1, 25),
    st.frozensets(st.integers(0, 24), max_size=3),
    st.frozensets(st.integers(0, 24), max_size=3),
)
def test_in_any_chaos_every_shard_is_settled_once(
    seed: int, shards: int, poison: frozenset[int], killers: frozenset[int]
) -> None:
    book = Chaos(seed, shards, poison, killers).run()
    assert book.gave_up or book.done.keys() | book.failed.keys() == set(range(shards))
    assert not book.done.keys() & book.failed.keys()
    assert not book.done.keys() & (poison | killers)
    if not book.gave_up:
        assert {shard for shard in killers if shard < shards} <= book.failed.keys()


def test_chaos_notices_a_shard_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without handing back what a dead worker held, the property above does not hold."""
    monkeypatch.setattr(Ledger, "_put_back", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="never ends"):
        Chaos(1, 20, frozenset(), frozenset()).run()


def test_a_shard_is_put_behind_the_others_once() -> None:
    book = a_ledger(2)
    assert book.give("a", 0.0) == Grant(0)
    assert book.postpone("a", 0)
    assert book.postpone("a", 0), "the answer was lost, and it is asked again"
    assert [book.give("a", 0.0) for _ in range(2)] == [Grant(1), Grant(0, again=True)]
    assert not book.postpone("a", 0)
    assert book.in_hand() == {0, 1}
