"""Who hears that a long read gets on: a person who watches, by a bar, or the job that it is part of."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import pyarrow as pa

from mlpools.storage import FileInfo

#: Seconds after which a read is a long one.
_LONG = 2.0
_clock = time.monotonic
T = TypeVar("T")
_listener: ContextVar[Callable[[], None] | None] = ContextVar("listener", default=None)


@contextmanager
def reported_to(listener: Callable[[], None]) -> Iterator[None]:
    """Have somebody told within the block whenever a read got further; what they raise ends the read."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def got_further() -> None:
    """Tell whoever wants to hear it."""
    if (listener := _listener.get()) is not None:
        listener()


def watched(tables: Iterable[pa.Table], total: int | None) -> Iterator[pa.Table]:
    """Yield tables; where somebody watches and it takes long, show how many of their rows are read.

    Args:
        tables: as they are read.
        total: rows to come; None where nobody has counted them.
    """
    return stepped(tables, "Reading", total, "rows", lambda table: int(table.num_rows))


def listing(files: Iterable[FileInfo]) -> Iterator[FileInfo]:
    """Yield files as a folder is listed, which of a store takes a request for each thousand."""
    return stepped(files, "Listing", None, "files")


def stepped(
    items: Iterable[T], what: str, total: int | None, unit: str, size: Callable[[T], int] = lambda _: 1
) -> Iterator[T]:
    """Yield what work brings; tell of each, and show a bar where somebody watches and it takes long.

    Args:
        items: as they come.
        what: is going on.
        total: of all sizes; None where nobody knows.
        unit: that is counted.
        size: of an item, in this unit.
    """
    shown, began, done, bar = is_watched(), _clock(), 0, None
    try:
        for item in items:
            got_further()
            yield item
            done += size(item)
            if bar is not None:
                bar.update(size(item))
            elif shown and _clock() - began >= _LONG:
                bar = bar_of(what, total, unit, done)
    finally:
        if bar is not None:
            bar.close()


def is_watched() -> bool:
    """Tell whether a person sees what is written to stderr: in a terminal or a notebook, not in a job."""
    return _in_notebook() or ("CI" not in os.environ and sys.stderr.isatty())


def _in_notebook() -> bool:
    """A kernel's stderr is no terminal, and yet somebody looks at it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def bar_of(what: str, total: int | None, unit: str, done: int = 0, *, scaled: bool = True) -> Any:
    """Return a bar of tqdm's in a form that a terminal or a notebook shows.

    Args:
        what: is going on.
        total: of all; None where nobody knows.
        unit: that is counted.
        done: already.
        scaled: show large numbers as 1.2k.
    """
    if _in_notebook() and importlib.util.find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm
    else:
        from tqdm.std import tqdm
    return tqdm(
        desc=what, total=total, initial=done, unit=f" {unit}", unit_scale=scaled, leave=False, file=sys.stderr
    )
