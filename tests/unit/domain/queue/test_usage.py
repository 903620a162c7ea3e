from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools_operator.domain.pool.ledger import Candidate
from mlpools_operator.domain.queue import usage, usage_record
from mlpools_operator.domain.queue.usage import DAY, DAYS, Account, Held
from tests.support.domain_values import a_candidate

#: An hour before midnight, UTC.
START = 20_000 * DAY - 3600


def holder(nodes: int, since: float = START, **changes: object) -> Candidate:
    return a_candidate("a", nodes, held=nodes, admitted=True, admitted_at=since, **changes)


def seconds(account: Account, namespace: str = "team-a") -> int:
    return sum(account.used.get(namespace, {}).values())


def test_a_held_node_is_charged_until_now() -> None:
    account = usage.charge(Account(), [holder(2)], START)
    account = usage.charge(account, [holder(2)], START + 100)
    assert account.used == {"team-a": {START // DAY: 200}}
    assert account.held == {"uid-a/1": Held("team-a", 2)}


def test_charging_again_charges_nothing() -> None:
    account = usage.charge(Account(START), [holder(2)], START + 100)
    assert usage.charge(account, [holder(2)], START + 100) == account
    assert usage.charge(account, [holder(2)], START + 50) == account, "a clock that went back"


def test_a_day_ends_at_midnight() -> None:
    account = usage.charge(Account(START), [holder(3)], START + 3600 + 50)
    assert account.used == {"team-a": {19_999: 3 * 3600, 20_000: 150}}


def test_an_attempt_that_nobody_wrote_down_is_charged_from_its_admission() -> None:
    account = usage.charge(Account(START), [holder(2, since=START + 40)], START + 100)
    assert seconds(account) == 120
    late = usage.charge(Account(START + 90), [holder(2, since=START + 40)], START + 100)
    assert seconds(late) == 20, "it would have been in the account if it had held nodes before"


def test_nodes_that_came_free_while_nobody_looked_came_free_when_their_pods_ended() -> None:
    account = usage.charge(Account(START), [holder(3)], START + 10)
    over = holder(3, freed=(START + 20, START + 25, START + 30))
    assert seconds(usage.charge(account, [replace(over, held=0)], START + 4000)) == 20 + 25 + 30
    assert seconds(usage.charge(account, [replace(over, held=2, freed=(START + 20,))], START + 110)) == 240
    unknown = replace(over, held=0, freed=(START + 20,))
    assert seconds(usage.charge(account, [unknown], START + 110)) == 20 + 2 * 110


def test_pods_that_end_after_their_job_are_charged() -> None:
    account = usage.charge(Account(START), [holder(2)], START + 10)
    stray = a_candidate("a", 0, held=2, blocked="Ended", attempt=2)
    account = usage.charge(account, [stray], START + 20)
    account = usage.charge(account, [stray], START + 30)
    assert seconds(account) == 60
    account = usage.charge(account, [], START + 35)
    assert (seconds(account), account.held) == (70, {})


def test_the_account_of_a_crash_goes_on_where_it_was_written() -> None:
    written = usage.charge(Account(START), [holder(2)], START + 50)
    gone = Held("team-b", 4)
    written = replace(written, held={**written.held, "uid-gone/1": gone})
    account = usage.charge(usage.resumed(written, [holder(2)]), [holder(2)], START + 500)
    assert seconds(account) == 1000
    assert seconds(account, "team-b") == 0, "when it ended is not known"


def test_what_is_older_than_thirty_days_counts_no_more() -> None:
    today = START // DAY
    account = Account(
        START, used={"team-a": {today - 31: 7, today - 30: 5, today: 1}, "old": {today - 30: 1}}
    )
    assert usage.total(account.used["team-a"], today) == 6
    next_day = usage.charge(account, [], START + DAY)
    assert next_day.used == {"team-a": {today: 1}}


@given(
    st.dictionaries(st.integers(0, 30), st.integers(1, 100), min_size=1),
    st.integers(1, 500),
)
def test_room_returns_on_the_first_day_that_has_some(ago: dict[int, int], budget: int) -> None:
    today = 20_000
    days = {today - number: used for number, used in ago.items()}
    if usage.total(days, today) < budget:
        return
    returns = usage.room_returns(days, budget, today)
    assert today < returns <= today + DAYS
    counts = {day: usage.total(days, day) for day in range(today, returns + 1)}
    assert counts.pop(returns) < budget
    assert all(used >= budget for used in counts.values())


@dataclass
class History:
    """A pool as it really was, second by second, and operators that charge it, write, die and start again.

    Attributes:
        truth: node seconds by namespace.
        unwritten: node seconds since the last write, by attempt.
        lost: those of attempts that ended between the last write and the next start.
    """

    now: int = START
    jobs: dict[str, Candidate] = field(default_factory=dict)
    truth: Counter[str] = field(default_factory=Counter)
    unwritten: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    account: Account = field(default_factory=Account)
    written: dict[str, str] = field(default_factory=lambda: usage_record.encode(Account()))
    up: bool = True

    def pass_time(self, seconds: int) -> None:
        for job in self.jobs.values():
            self.truth[job.namespace] += job.held * seconds
            self.unwritten[attempt(job)] += job.held * seconds
        self.now += seconds

    def charge(self) -> None:
        if self.up:
            self.account = usage.charge(self.account, self.jobs.values(), self.now)

    def admit(self, name: str, nodes: int) -> None:
        job = self.jobs.get(name)
        if self.up and (job is None or not job.held):
            self.charge()
            made = a_candidate(name, nodes, namespace=f"team-{name}", held=nodes, admitted=True)
            number = job.attempt + 1 if job else len(self.truth) * 100 + self.now % 100
            self.jobs[name] = replace(made, attempt=number, admitted_at=float(self.now))
            self.charge()

    def free(self, name: str, nodes: int) -> None:
        """Pods end; an operator that runs sees that at once."""
        job = self.jobs.get(name)
        if job:
            ended = min(nodes, job.held)
            freed = (*job.freed, *([float(self.now)] * ended))
            self.jobs[name] = replace(job, held=job.held - ended, freed=freed)
            self.charge()

    def delete(self, name: str) -> None:
        """A job goes with its pods; an operator that runs sees that at once."""
        self.jobs.pop(name, None)
        self.charge()

    def write(self) -> None:
        if self.up:
            self.charge()
            self.written = usage_record.encode(self.account)
            self.unwritten.clear()

    def crash(self) -> None:
        self.up = False

    def start(self) -> None:
        if not self.up:
            there = {attempt(job) for job in self.jobs.values()}
            for gone in [key for key in self.unwritten if key not in there]:
                self.lost[gone.split("/")[0].replace("uid", "team")] += self.unwritten.pop(gone)
            stored = usage_record.decode(self.written)
            self.account, self.up = usage.resumed(stored, self.jobs.values()), True
            self.charge()

    def charged(self) -> Counter[str]:
        return Counter({name: sum(days.values()) for name, days in self.account.used.items()})


def attempt(job: Candidate) -> str:
    return f"{job.uid}/{job.attempt}"


NAMES = st.sampled_from("abc")
ACTIONS = st.one_of(
    st.tuples(st.just("pass_time"), st.integers(0, 5000)),
    st.tuples(st.just("admit"), NAMES, st.integers(1, 5)),
    st.tuples(st.just("free"), NAMES, st.integers(1, 5)),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.sampled_from(("charge", "write", "crash", "start"))),
)


def played(actions: list[tuple[Any, ...]]) -> History:
    history = History()
    for name, *arguments in actions:
        getattr(history, name)(*arguments)
    history.start()
    history.charge()
    return history


@settings(max_examples=200)
@given(st.lists(ACTIONS, max_size=40))
def test_whatever_happens_nothing_is_charged_twice_and_a_crash_loses_what_ended_since_the_last_write(
    actions: list[tuple[Any, ...]],
) -> None:
    history = played(actions)
    assert history.charged() + history.lost == history.truth


@given(st.lists(ACTIONS.filter(lambda action: action[0] != "crash"), max_size=40))
def test_without_a_crash_nothing_is_lost(actions: list[tuple[Any, ...]]) -> None:
    history = played(actions)
    assert not history.lost
    assert history.charged() == history.truth


accounts = st.builds(
    Account,
    st.integers(0, 4_000_000_000),
    st.dictionaries(
        st.text("ab1-", min_size=1), st.builds(Held, st.sampled_from(("x", "y")), st.integers(0, 9))
    ),
    st.dictionaries(
        st.sampled_from(("team-a", "team-b")),
        st.dictionaries(st.integers(20_000, 20_000 + DAYS - 1), st.integers(1, 10**9), min_size=1),
    ),
)


@given(accounts)
def test_what_is_written_is_what_is_read(account: Account) -> None:
    assert usage_record.decode(usage_record.encode(account)) == account


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("chargedUntil", "yesterday"),
        ("held", "[]"),
        ("held", '{"team-a": {"uid/1": -1}}'),
        ("nodeSeconds", "{"),
        ("nodeSeconds", '{"from": "2026-10-23", "namespaces": {"team-a": ["1"]}}'),
        ("nodeSeconds", f'{{"from": "2026-10-23", "namespaces": {{"a": {[1] * 32}}}}}'),
    ],
)
def test_what_somebody_spoilt_is_named(key: str, text: str) -> None:
    data = {**usage_record.encode(Account()), key: text}
    with pytest.raises(usage_record.UnreadableError, match=f"its {key} cannot be read"):
        usage_record.decode(data)
    with pytest.raises(usage_record.UnreadableError, match=f"its {key} cannot be read"):
        usage_record.decode({name: value for name, value in data.items() if name != key})


def test_a_thousand_namespaces_and_ten_thousand_attempts_fit_into_a_config_map() -> None:
    month = {20_000 + number: 100_000 * DAY for number in range(DAYS)}
    names = [f"{'team' * 15}-{number:03d}"[-63:] for number in range(1000)]
    uid = "f774eb2e-0000-4000-8000-{:012d}/10"
    account = Account(
        START,
        {uid.format(number): Held(names[number % 1000], 1) for number in range(10_000)},
        dict.fromkeys(names, month),
    )
    assert usage_record.size(usage_record.encode(account)) < usage_record.MAX_BYTES
    assert math.isclose(usage.total(month, 20_030), DAYS * 100_000 * DAY)
