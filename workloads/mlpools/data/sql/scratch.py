"""Where a query's rows are laid down.

In a job: beside its checkpoints, so that all ranks and later attempts read what one has read. Elsewhere:
below the cache folder, as long as this process lives.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import itertools
import os
import shutil
import tempfile
from pathlib import Path

from mlpools import budgets
from mlpools.contract import STAGE_ENV
from mlpools.storage import Location, locate

_LOCK = ".lock"
_counter = itertools.count()


def folder() -> Location:
    """Return the job's folder, or elsewhere a new one: there each reading is meant to see new rows."""
    if url := os.environ.get(STAGE_ENV):
        return locate(url)
    return locate(_of_process(os.getpid())).child(str(next(_counter)))


@functools.cache
def _of_process(pid: int) -> Path:
    """Make this process's folder, and remove those whose processes are gone."""
    root = budgets.cache_folder() / "sql"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for other in root.iterdir():
        _remove_abandoned(other)
    own = Path(tempfile.mkdtemp(prefix=f"{pid}-", dir=root))
    # Held for as long as this process, or one that it forked, lives; the kernel lets go of it in any case.
    lock = os.open(own / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
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
