"""The person at the keyboard, also under sudo: files that they will use belong to them."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def home() -> Path:
    """The home folder of whoever called sudo, or of this user."""
    caller = os.environ.get("SUDO_USER")
    return Path(pwd.getpwnam(caller).pw_dir) if caller else Path.home()


def make_folder(folder: Path) -> Path:
    """Make a folder and what is missing above it, all of it the caller's."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    hand_over(*made)
    return folder


def hand_over(*paths: Path) -> None:
    """Give files and folders (not what is in them) to whoever called sudo."""
    if "SUDO_UID" in os.environ and os.geteuid() == 0:
        for path in paths:
            os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))
