"""Programs in a memory control group of their own, which is the root that they see, as in a container."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mlpools.supervisor.cgroup import ROOT
from tests.support.privileges import needs_root
from tests.support.waiting import wait_for

#: Joins the group in $0, has it stand for its hierarchy in $1, and becomes the program behind these.
_ENTER = 'echo $$ > "$0/cgroup.procs"; mount --bind "$0" "$1"; shift; exec "$@"'

#: For tests that use ``limited``.
needs_groups = needs_root("a control group")


@contextlib.contextmanager
def limited(memory: int) -> Iterator[list[str]]:
    """Yield what stands before a command, for the kernel to end its processes that take more memory.

    Args:
        memory: bytes that they may have together.
    """
    version_2 = (ROOT / "cgroup.controllers").exists()
    hierarchy = ROOT if version_2 else ROOT / "memory"
    group = hierarchy / f"mlpools-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.max" if version_2 else "memory.limit_in_bytes")).write_text(str(memory))
        yield ["unshare", "--mount", "sh", "-ec", _ENTER, str(group), str(hierarchy)]
    finally:
        wait_for("empty control group", lambda: _removed(group))


def _removed(group: Path) -> bool:
    """Remove a group, unless a process of it is still on its way out."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
