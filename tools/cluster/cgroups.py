"""The cgroups of an instance's pods: `/mlp-<instance>/node<N>` in every hierarchy."""

from __future__ import annotations

import os
from pathlib import Path

from tools.steps import wait_for

ROOT = Path("/sys/fs/cgroup")


def path(instance: str, node: int) -> str:
    """A node's cgroup, as the kubelet names it."""
    return f"/mlp-{instance}/node{node}"


def make(instance: str, node: int) -> None:
    """Make a node's cgroup, with the controllers that its pods will need."""
    for hierarchy in hierarchies():
        folder = hierarchy
        for part in path(instance, node).strip("/").split("/"):
            _pass_on_controllers(folder)
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):  # cgroup v1: a child starts with none
                if hierarchy != ROOT and (folder / setting).exists():
                    (folder / setting).write_text((parent / setting).read_text())
        _pass_on_controllers(folder)


def remove(instance: str) -> None:
    """Remove an instance's cgroups once the last of its processes has left them."""

    def remaining() -> str | None:
        for hierarchy in hierarchies():
            for folder, _, _ in os.walk(hierarchy / f"mlp-{instance}", topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError as error:
                    return str(error)
        return None

    wait_for(f"removing the cgroups of {instance}", remaining, seconds=30)


def hierarchies() -> list[Path]:
    """Where cgroups are made: one folder for each controller (v1), or the one of v2."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    # cpu and cpuacct may be links to one folder, cpu,cpuacct.
    return sorted({folder.resolve() for folder in ROOT.iterdir() if (folder / "cgroup.procs").exists()})


def _pass_on_controllers(folder: Path) -> None:
    control = folder / "cgroup.subtree_control"
    controllers = folder / "cgroup.controllers"
    if control.exists() and (names := controllers.read_text().split()):
        control.write_text(" ".join(f"+{name}" for name in names))
