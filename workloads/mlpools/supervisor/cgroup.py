"""What the container may use and has used, from the control group's files, version 1 and 2.

Programs that ask the machine instead see all its CPUs and memory.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
#: Version 1 writes "no limit" as a number near 2^63.
_UNLIMITED = 1 << 60


@dataclasses.dataclass(frozen=True)
class Limits:
    """The container's limits.

    Attributes:
        cpus: CPUs that may be used at once; a fraction is possible.
        memory: bytes; None = no limit.
    """

    cpus: float
    memory: int | None

    def threads(self, workers: int) -> int:
        """Return how many threads each of several workers should start."""
        return max(1, int(self.cpus + 0.01) // max(1, workers))


def limits(root: Path = ROOT) -> Limits:
    """Read the limits of this process's control group."""
    return Limits(cpus=_cpus(root), memory=_memory(root))


def oom_kills(root: Path = ROOT) -> int:
    """Return how many processes of the group the kernel killed for memory; 0 where it does not say."""
    for name in ("memory.events", "memory/memory.oom_control"):
        for line in _read(root / name).splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0


def memory_used(root: Path = ROOT) -> int:
    """Return the bytes that only ending a process frees; 0 where the group does not say.

    The page cache is left out: the kernel gives it back before it kills anybody. ``/dev/shm`` counts.
    """
    text = _read(root / "memory.stat") or _read(root / "memory" / "memory.stat")
    lines = (line.partition(" ") for line in text.splitlines())
    return sum(int(value) for key, _, value in lines if key in ("anon", "rss", "shmem"))


def _cpus(root: Path) -> float:
    machine = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(root / "cpu.max").partition(" ")
    if not quota:
        quota = _read(root / "cpu" / "cpu.cfs_quota_us")
        period = _read(root / "cpu" / "cpu.cfs_period_us")
    if not quota or quota in ("max", "-1") or not period:
        return machine
    return min(machine, int(quota) / int(period))


def _memory(root: Path) -> int | None:
    text = _read(root / "memory.max") or _read(root / "memory" / "memory.limit_in_bytes")
    if not text or text == "max" or int(text) >= _UNLIMITED:
        return None
    return int(text)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
