"""How much memory and disk a process may use: what the container has, and not what the machine has."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlpools.contract.wiring import CACHE_BYTES_ENV, CACHE_ENV, EPHEMERAL_BYTES_ENV, SHARED_BY_ENV
from mlpools.supervisor import cgroup

_SHM = Path("/dev/shm")  # noqa: S108 - only looked at
#: Without a limit other programs need memory too.
_SHARE_OF_MACHINE = 0.5
#: Of the limit of local disk, the rest is for logs and packages; above the limit the pod is evicted.
_SHARE_OF_EPHEMERAL = 0.8
_FOLDER = "mlpools-cache"


def memory(
    workers: int = 1,
    *,
    root: Path = cgroup.ROOT,
    shm: Path = _SHM,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Return the bytes of memory that one of a container's workers may use.

    Args:
        workers: processes that share the container evenly.
        root: of the control groups.
        shm: what lies in there is charged to the container. Without a limit half of the machine is shared.
        environ: what a launcher told that starts several supervisors here.
    """
    shares = workers * supervisors(environ)
    limit = cgroup.limits(root).memory
    if limit is None:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        return int(pages * size * _SHARE_OF_MACHINE) // shares
    return max(0, limit - _used(shm)) // shares


def supervisors(environ: Mapping[str, str] = os.environ) -> int:
    """Return how many supervisors have their workers in this container, or on this machine."""
    return max(1, _number(environ, SHARED_BY_ENV))


def disk(folder: Path, held: int = 0, environ: Mapping[str, str] = os.environ) -> int:
    """Return the bytes that files below a folder may take in all.

    It is the least of what the volume has free, what the pool allows for the cache, and what the container's
    limit of local disk leaves, which counts where the folder lies on the same disk as the temporary folder.

    Args:
        folder: or a folder that will be; the nearest one above that is there tells.
        held: bytes that these files take already.
        environ: what the operator told.
    """
    there = next(it for it in (folder, *folder.parents) if it.exists())
    bounds = [shutil.disk_usage(there).free + held]
    local = _number(environ, EPHEMERAL_BYTES_ENV)
    if local and there.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        bounds.append(int(local * _SHARE_OF_EPHEMERAL))
    allowed = _number(environ, CACHE_BYTES_ENV)
    if allowed and folder.is_relative_to(cache_folder(environ)):
        bounds.append(allowed)
    return max(0, min(bounds))


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where data is kept that is read more than once: the pod's cache, or a temporary folder.

    The temporary one is the user's own, since a file in there is believed to be what was fetched.
    """
    told = environ.get(CACHE_ENV)
    return Path(told) if told else Path(tempfile.gettempdir()) / f"{_FOLDER}-{os.getuid()}"


def _used(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).used
    except OSError:
        return 0


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else 0
