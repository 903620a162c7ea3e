"""Words for people: durations, counts, lists of names, and text cut to fit into a status."""

from __future__ import annotations

import json
from collections.abc import Sequence

#: Longest sentence of a condition, in bytes of JSON.
SENTENCE_BYTES = 768
_ELLIPSIS = "…"


def fit(text: str, limit: int = SENTENCE_BYTES) -> str:
    """Return the text in one line, cut to ``limit`` bytes of JSON.

    The API server's limit is on the JSON of the whole object, where a quotation mark takes two bytes and
    a control character six; so those are counted, not characters.
    """
    line = _in_one_line(text)
    return line if _size(line) <= limit else line[: _room(line, limit)] + _ELLIPSIS


def ending(text: str, limit: int) -> str:
    """Return the same, but the end of the text: where a program says why it ended."""
    line = _in_one_line(text)
    return line if _size(line) <= limit else _ELLIPSIS + line[len(line) - _room(line[::-1], limit) :]


def _in_one_line(text: str) -> str:
    line = " ".join(text.split())
    return "".join(character if character.isprintable() else "?" for character in line)


def _room(line: str, limit: int) -> int:
    """Return how many of a line's first characters fit beside the ellipsis."""
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        if _size(line[:middle] + _ELLIPSIS) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def count(number: int, noun: str) -> str:
    """Return ``1 node``, ``3 nodes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Return a span in coarse steps, so that a sentence with it does not change at every look."""
    if seconds < 60:
        return f"{max(10, round(seconds / 10) * 10)} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"


def listing(items: Sequence[str], limit: int) -> str:
    """Return the first items, joined, and how many more there are."""
    named = ", ".join(items[:limit])
    more = len(items) - limit
    return named if more <= 0 else f"{named} and {more} more"
