"""What goes to the screen: tables that are plain text unless it is a terminal, and JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

#: Nothing is cut or wrapped: a terminal wraps by itself, as with kubectl, and a program wants whole lines.
_UNBOUNDED = 10_000
#: Words of a cluster are no markup.
_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
_STYLES = {
    **dict.fromkeys(("Running", "Active", "Succeeded"), "green"),
    **dict.fromkeys(("Failed",), "red"),
    **dict.fromkeys(("Queued", "Starting", "Restarting", "Resizing", "Stopping"), "yellow"),
    **dict.fromkeys(("Suspended", "Stopped", "Cancelled", "Idle"), "dim"),
}


def console(*, err: bool = False) -> Console:
    """Return the screen for tables and sentences; colours are a terminal's only, and NO_COLOR is heeded."""
    return Console(**_PLAIN, stderr=err, width=_UNBOUNDED)


def live() -> Console:
    """Return the screen for what moves, such as a progress bar: beside the output, and of its own width."""
    return Console(**_PLAIN, stderr=True)


def state(word: str) -> Text:
    """Return a phase or a state in its colour."""
    return Text(word, style=_STYLES.get(word, ""))


def table(columns: Sequence[str], rows: Sequence[Sequence[RenderableType]]) -> Table:
    """Return a table as kubectl draws them."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column)
    for row in rows:
        made.add_row(*row)
    return made


def as_json(document: Any) -> None:
    """Print a document as JSON."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def age(since: float, now: float | None = None) -> str:
    """Return a span in one unit, as kubectl does; empty without a beginning.

    Args:
        since: seconds since the epoch; 0 = unknown.
        now: the end, this moment by default.
    """
    if not since:
        return ""
    seconds = max(0, int((time.time() if now is None else now) - since))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def said(mapping: Mapping[str, Any] | None, *path: str) -> Any:
    """Return what is at a path of an object as the API server sent it; None where it leads nowhere."""
    here: Any = mapping
    for name in path:
        here = here.get(name) if isinstance(here, Mapping) else None
    return here
