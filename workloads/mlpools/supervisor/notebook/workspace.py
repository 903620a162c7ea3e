"""The workspace: whether it can be written, and whether it is nearly full."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

#: From here on it is said that there is little room left.
_FULL_SHARE = 0.95


def not_writable(workspace: Path) -> str:
    """Return one sentence about why nothing can be written, empty if something can."""
    try:
        with tempfile.TemporaryFile(dir=workspace):
            return ""
    except OSError as error:
        user, group = os.getuid(), os.getgid()
        return (
            f"The workspace at {workspace} cannot be written by user {user}, group {group} "
            f"({error.strerror}): set storage.runAsUser or storage.fsGroup to whom its files belong."
        )


def trouble(workspace: Path) -> str:
    """Return one sentence about what will soon be in the way, empty if nothing is."""
    try:
        usage = shutil.disk_usage(workspace)
    except OSError as error:
        return f"The workspace cannot be read ({error.strerror})."
    if usage.used < usage.total * _FULL_SHARE:
        return ""
    free = usage.free // 2**20
    return f"The workspace is nearly full: {free} MiB are left. Delete files, or raise storage.size."
