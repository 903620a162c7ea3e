"""What a notebook's kernels know beside IPython: ``%pip`` and ``%uv`` as terminals do, and notices."""

from __future__ import annotations

import importlib
from typing import Any

from mlpools.notebook import kept


def load_ipython_extension(shell: Any) -> None:
    """Take over the two commands of IPython that would install into the image, which is read-only."""

    def pip(line: str) -> None:
        """Install packages: %pip install NAME."""
        _run(shell, f"pip {line}")

    def uv(line: str) -> None:
        """Install packages: %uv pip install NAME."""
        _run(shell, f"uv {line}")

    for command in (pip, uv):
        shell.register_magic_function(command)
    shell.events.register("pre_run_cell", _Notices())


def _run(shell: Any, command: str) -> None:
    shell.system(command)
    importlib.invalidate_caches()
    print("A package that was imported before takes a restart of the kernel to be the new one.")  # noqa: T201


class _Notices:
    """Says once, with the first cell that runs, what people have to know: before, nobody sees it."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, _: Any = None) -> None:
        found = kept.notice()
        if found and found != self._said:
            print(f"mlpools: {found}")  # noqa: T201
        self._said = found
