"""The workspace: whether it can be written, and whether it is nearly full."""

from __future__ import annotations

import os
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
        found = os.statvfs(workspace)
    except OSError as error:
        return f"The workspace cannot be read ({error.strerror})."
    # What the file system keeps back for root is no room: ext4 keeps a twentieth, and breaks at 95 %.
    used = found.f_blocks - found.f_bfree
    if used >= (used + found.f_bavail) * _FULL_SHARE:
        free = found.f_bavail * found.f_frsize // 2**20
        return f"The workspace is nearly full: {free} MiB are left. Delete files, or raise storage.size."
    files = found.f_files - found.f_ffree
    # Some file systems count none.
    if found.f_files and files >= (files + found.f_favail) * _FULL_SHARE:
        return f"The workspace can take only {found.f_favail} more files: delete some, or raise storage.size."
    return ""
