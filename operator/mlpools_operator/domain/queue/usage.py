"""How much of a pool each namespace has used: node seconds by UTC day, and when there is room again.

Use is charged while a node is held, whatever becomes of the job. An account says until when everything is
charged and which attempts held how many nodes then; charging again from there, once or a hundred times,
comes to the same sum. So an account that was read back after a crash goes on where it was written: what
still holds its nodes loses nothing, and nothing is charged twice.

Times are whole seconds since the epoch, days are whole days since the epoch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mlpools_operator.domain.pool.ledger import Candidate

DAY = 86_400
#: Use counts on the day it happened and on 30 days after it.
DAYS = 31

#: Day -> node seconds.
Days = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Held:
    """Nodes that an attempt held when its account was charged last."""

    namespace: str
    nodes: int


@dataclass(frozen=True, slots=True)
class Account:
    """The use of one pool.

    Attributes:
        charged_until: everything before is charged.
        held: by attempt, who held nodes at that moment.
        used: by namespace.
    """

    charged_until: int = 0
    held: Mapping[str, Held] = field(default_factory=dict)
    used: Mapping[str, Days] = field(default_factory=dict)


def charge(account: Account, candidates: Iterable[Candidate], now: float) -> Account:
    """Return the account charged up to now.

    A clock that went back charges nothing until it has caught up.

    Args:
        account: as charged last.
        candidates: all that hold nodes of the pool or ask for them.
        now: seconds since the epoch.
    """
    until = max(account.charged_until, math.floor(now))
    holding = {_attempt(it): it for it in candidates if it.held or it.admitted}
    used: dict[str, dict[int, int]] = {}
    for attempt, before in account.held.items():
        after = holding.get(attempt)
        _add(used, before, after, account.charged_until, until)
    for attempt, candidate in holding.items():
        if attempt not in account.held and candidate.admitted_at:
            # Admitted since, and nobody has written it down yet.
            since = min(until, max(account.charged_until, math.floor(candidate.admitted_at)))
            _add(used, Held(candidate.namespace, candidate.nodes), candidate, since, until)
    held = {attempt: Held(it.namespace, it.held) for attempt, it in holding.items()}
    return Account(until, held, _merged(account, used, until // DAY))


def added(before: Account, after: Account) -> dict[str, int]:
    """Return the node seconds that one account has and an earlier one had not, by namespace."""
    grown = {
        name: sum(max(0, used - before.used.get(name, {}).get(day, 0)) for day, used in days.items())
        for name, days in after.used.items()
    }
    return {name: seconds for name, seconds in grown.items() if seconds}


def resumed(account: Account, candidates: Iterable[Candidate]) -> Account:
    """Return an account that was read back, without the attempts that ended when nobody looked.

    When they ended is not known, so they are charged up to the last write and no further.
    """
    there = {_attempt(it) for it in candidates if it.held or it.admitted}
    return replace(account, held={key: held for key, held in account.held.items() if key in there})


def total(days: Days, today: int) -> int:
    """Return the node seconds that count today."""
    return sum(seconds for day, seconds in days.items() if day > today - DAYS)


def room_returns(days: Days, budget: int, today: int) -> int:
    """Return the first day after today on which less than the budget counts, if nothing is added."""
    later = (today + number for number in range(1, DAYS))
    return next((day for day in later if total(days, day) < budget), today + DAYS)


def _attempt(candidate: Candidate) -> str:
    return f"{candidate.uid}/{candidate.attempt}"


def _add(
    used: dict[str, dict[int, int]], before: Held, after: Candidate | None, start: int, until: int
) -> None:
    """Charge what was held from ``start`` on: what still is, until now; the rest, until it came free."""
    days = used.setdefault(before.namespace, {})
    kept = min(before.nodes, after.held) if after else 0
    freed = after.freed[-(before.nodes - kept) :] if after and before.nodes > kept else ()
    ends = Counter(min(max(math.floor(end), start), until) for end in freed)
    if before.nodes > len(freed):
        ends[until] += before.nodes - len(freed)
    for end, nodes in ends.items():
        for day, seconds in _days(start, end):
            days[day] = days.get(day, 0) + nodes * seconds


def _days(start: int, end: int) -> Iterable[tuple[int, int]]:
    """Split a span at midnight, UTC."""
    while start < end:
        day = start // DAY
        stop = min(end, (day + 1) * DAY)
        yield day, stop - start
        start = stop


def _merged(account: Account, new: Mapping[str, Days], today: int) -> Mapping[str, Days]:
    """Return what was used and what was added, without the days that count no more."""
    result = {**account.used, **{name: _sum(account.used.get(name, {}), days) for name, days in new.items()}}
    if today > account.charged_until // DAY:
        result = {
            name: {day: days[day] for day in days if day > today - DAYS} for name, days in result.items()
        }
    return {name: days for name, days in result.items() if days}


def _sum(one: Days, other: Days) -> Days:
    return {day: one.get(day, 0) + other.get(day, 0) for day in sorted({*one, *other})}
