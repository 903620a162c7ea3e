"""A job's own code: where it lies, how a process finds it, and whether it has what is to run.

mlpools itself never has it on its path: a file of the user's may be named as a module of Python's.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from mlpools.contract.tasks import Task
from mlpools.contract.wiring import CODE_ENV, CODE_FOLDER, CODE_TREE
from mlpools.errors import CodeNotReadable, at_hand

#: What stands for no code of the user's.
_NO_CODE = frozenset({"__pycache__", "node_modules"})
#: Folders are looked through to this depth for names to tell.
_DEPTH = 4


def folder(task: Task, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that the job's code was laid down in; None if the job brings none."""
    return Path(environ.get(CODE_ENV, CODE_FOLDER)) / CODE_TREE if task.code else None


def environment(task: Task, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables of a process that runs the job's code: it comes first on ``PYTHONPATH``.

    Start the process in ``folder(task)``, so that the code finds its files by their names.
    """
    there, others = folder(task, environ), environ.get("PYTHONPATH")
    if there is None:
        return dict(environ)
    return {**environ, "PYTHONPATH": f"{there}{os.pathsep}{others}" if others else str(there)}


def find_file(task: Task, name: str) -> Path:
    """Return the path of a file that is to run.

    Args:
        task: of the job.
        name: in the job's code, or absolute in the image or on a volume.

    Raises:
        CodeNotReadable: there is no such file; with the names there are.
    """
    root = folder(task) or Path.cwd()
    path = root / name
    if path.is_file():
        return path
    if Path(name).is_absolute():
        raise CodeNotReadable(f"There is no file {name} in the image or on a volume of the job.")
    names = [str(found.relative_to(root)) for found in _python_files(root)] if task.code else []
    where = "the job's code" if task.code else f"the image's folder {root}, and the job brings no code"
    raise CodeNotReadable(f"There is no file {name!r} in {where}. {_hint(name, names, 'Files')}".rstrip())


def find_module(task: Task, name: str) -> None:
    """See that a module that is to run is there, without importing anything of the user's.

    Raises:
        CodeNotReadable: there is no such module; with the names there are.
    """
    root = folder(task)
    paths = [str(root)] if root else []
    paths += [path for path in sys.path if path]
    parts = name.split(".")
    for at, part in enumerate(parts):
        found = importlib.machinery.PathFinder.find_spec(part, paths)
        if found is None:
            break
        if at + 1 == len(parts):
            return
        paths = list(found.submodule_search_locations or ())
    names = [_module(found.relative_to(root)) for found in _python_files(root)] if root else []
    where = "neither in the job's code nor in the image" if root else "not in the image"
    raise CodeNotReadable(f"The module {name!r} is {where}. {_hint(name, names, 'Modules')}".rstrip())


def _hint(name: str, names: list[str], what: str) -> str:
    return at_hand(name, names, what) if names else ""


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _python_files(root: Path) -> list[Path]:
    """Return Python files near the top of the code."""
    found: list[Path] = []
    for place, folders, names in os.walk(root):
        depth = len(Path(place).relative_to(root).parts)
        folders[:] = sorted(it for it in folders if it not in _NO_CODE and it[0] != "." and depth < _DEPTH)
        found += [Path(place, name) for name in sorted(names) if name.endswith(".py")]
    return found
