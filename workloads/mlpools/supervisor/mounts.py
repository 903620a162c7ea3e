"""Whether the Secrets and ConfigMaps that a job mounts are there.

They are mounted as optional: of one that is absent there is an empty folder.
"""

from __future__ import annotations

from pathlib import Path

from mlpools.contract.tasks import Notebook, Task


def absent(task: Task | Notebook) -> str:
    """Return one sentence about the first thing that is not there, empty if all is."""
    for entry in task.required:
        kind, name, path = entry["kind"], entry["name"], Path(entry["path"])
        where = f"{kind} {name} of namespace {task.namespace}"
        if not _has_files(path):
            return f"{where}, mounted at {path}, is not there or is empty: create it."
        for file in entry.get("files") or ():
            if not (path / file).exists():
                return f"{where}, mounted at {path}, has no key for the file {file}: add it."
    return ""


def _has_files(path: Path) -> bool:
    """Whether a mount holds anything; names that begin with two dots are the kubelet's own."""
    try:
        return any(not entry.name.startswith("..") for entry in path.iterdir())
    except NotADirectoryError:
        return True
    except OSError:
        return False
