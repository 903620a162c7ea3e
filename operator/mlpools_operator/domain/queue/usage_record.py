"""An account as it is written down: the data of a ConfigMap, short enough for one, and legible.

chargedUntil: "2026-11-22T10:00:00Z"
held:         {"team-a": {"<uid of the job>/<attempt>": 2}}       nodes held at that moment
nodeSeconds:  {"from": "2026-10-23", "namespaces": {"team-a": [0, 0, 7200]}}   one number a day
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from mlpools_operator.domain import times
from mlpools_operator.domain.queue.usage import DAYS, Account, Days, Held

#: What the API server takes as the data of one ConfigMap.
MAX_BYTES = 1024 * 1024
_EPOCH = date(1970, 1, 1).toordinal()


class UnreadableError(ValueError):
    """The data are not an account; the text says which part is not."""


def encode(account: Account) -> dict[str, str]:
    """Return the account as the data of a ConfigMap."""
    held: dict[str, dict[str, int]] = {}
    for attempt, it in sorted(account.held.items()):
        held.setdefault(it.namespace, {})[attempt] = it.nodes
    first = min((day for days in account.used.values() for day in days), default=0)
    used = {name: _row(days, first) for name, days in sorted(account.used.items())}
    return {
        "chargedUntil": times.stamp(account.charged_until),
        "held": _compact(held),
        "nodeSeconds": _compact({"from": day_in_words(first), "namespaces": used}),
    }


def decode(data: Mapping[str, str]) -> Account:
    """Return the account that was written.

    Raises:
        UnreadableError: somebody changed it into something else.
    """
    return Account(
        charged_until=_read(data, "chargedUntil", _until),
        held=_read(data, "held", _held),
        used=_read(data, "nodeSeconds", _used),
    )


def size(data: Mapping[str, str]) -> int:
    """Return the bytes that count against ``MAX_BYTES``."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in data.items())


def day_in_words(day: int) -> str:
    """Return a day as text, such as ``2026-11-22``."""
    return date.fromordinal(_EPOCH + day).isoformat()


def _row(days: Days, first: int) -> list[int]:
    return [days.get(day, 0) for day in range(first, max(days) + 1)]


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _read(data: Mapping[str, str], key: str, reader: Any) -> Any:
    try:
        return reader(data[key])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UnreadableError(f"its {key} cannot be read ({type(error).__name__}: {error})") from None


def _until(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp())


def _held(text: str) -> Mapping[str, Held]:
    return {
        attempt: Held(namespace, _number(nodes))
        for namespace, attempts in json.loads(text).items()
        for attempt, nodes in attempts.items()
    }


def _used(text: str) -> Mapping[str, Days]:
    written = json.loads(text)
    first = date.fromisoformat(written["from"]).toordinal() - _EPOCH
    return {name: _days(row, first) for name, row in written["namespaces"].items()}


def _days(row: list[int], first: int) -> Days:
    if len(row) > DAYS:
        raise ValueError(f"more than {DAYS} days")
    return {first + number: _number(seconds) for number, seconds in enumerate(row) if seconds}


def _number(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number of nodes or seconds")
    return value
