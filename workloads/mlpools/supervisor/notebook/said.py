"""The last lines of a notebook's program, as a status may show them."""

from __future__ import annotations

from collections.abc import Iterable

_LINES = 5
_CHARACTERS = 400
#: In which those are looked for.
_BYTES = 16_000


def last_lines(output: bytes, secrets: Iterable[str]) -> str:
    """Return the last lines in one, or what fits of the end of them; empty if there are none.

    Args:
        output: of the program, or the end of it.
        secrets: what opens the notebook: a program may well print it, and many may read a status.
    """
    text = output[-_BYTES:].decode(errors="replace")
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = " / ".join(lines[-_LINES:])
    return told if len(told) <= _CHARACTERS else f"…{told[-_CHARACTERS:]}"
