"""How the tools talk to a person: one line per step with its time, one sentence per failure."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import caller


class ToolError(Exception):
    """What failed, where, and what to do, in one sentence for a person."""


@contextmanager
def told() -> Iterator[None]:
    """End the program with one line and the exit code 1 where a tool fails."""
    try:
        yield
    except ToolError as error:
        print(f"✗ {error}", file=sys.stderr)
        sys.exit(1)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is being done, and then how long it took."""
    started = time.monotonic()
    print(f"  · {what} …", flush=True)
    yield
    print(f"  ✓ {what} ({time.monotonic() - started:.1f} s)", flush=True)


def wait_for(what: str, check: Callable[[], str | None], *, seconds: float, every: float = 0.05) -> None:
    """Poll until `check` returns None; what it returns until then is the reason still to wait.

    Raises:
        ToolError: the deadline passed, with the last reason.
    """
    deadline = time.monotonic() + seconds
    while (reason := check()) is not None:
        if time.monotonic() > deadline:
            raise ToolError(f"{what}: not ready after {seconds:.0f} s: {reason}")
        time.sleep(every)


def cache_dir() -> Path:
    """Where what can be made again is kept between runs."""
    return caller.make_folder(Path(os.environ.get("XDG_CACHE_HOME") or caller.home() / ".cache") / "mlpools")


def last_line(log: Path) -> str:
    """The last line of a log that says something, preferring one that names an error."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[-50:] if line.strip()]
    errors = [line for line in lines if "rror" in line or "atal" in line or line.startswith("F")]
    return (errors or lines or ["no output"])[-1][:300]
