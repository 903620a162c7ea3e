"""Folders on the cache disk that go with their process; what a killed one leaves the next one removes."""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path

from mlpools import budgets

_LOCK = ".lock"


def of_process(what: str) -> Path:
    """Return this process's folder for something; it is made when it is first asked for."""
    return _made(os.getpid(), budgets.cache_folder() / what)


@functools.cache
def _made(pid: int, root: Path) -> Path:
    """Make a process's folder, and remove those whose processes are gone."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for other in root.iterdir():
        _remove_abandoned(other)
    own = Path(tempfile.mkdtemp(prefix=f"{pid}-", dir=root))
    # Held for as long as this process, or one that it forked, lives; the kernel lets go of it in any case.
    lock = os.open(own / f"{_LOCK}-new", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (own / f"{_LOCK}-new").rename(own / _LOCK)  # nobody else can have locked it
    atexit.register(_remove_own, own, pid)
    return own


def _remove_own(own: Path, pid: int) -> None:
    if os.getpid() == pid:  # and not in a child that was forked
        shutil.rmtree(own, ignore_errors=True)


def _remove_abandoned(other: Path) -> None:
    try:
        lock = os.open(other / _LOCK, os.O_RDWR)
    except OSError:
        return  # it is just being made or removed
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(other, ignore_errors=True)
    except BlockingIOError:
        return  # its process lives
    finally:
        os.close(lock)
