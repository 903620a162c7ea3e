"""What batch inference does that others can see, word by word; a process can end or stop before each of them.

The words are read off the classes that do it, so a new one is a step at once.
"""

from __future__ import annotations

import collections
import errno
import functools
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from mlpools.data.writers.hashing_file import HashingFile
from mlpools.inference.asking import Dispensary
from mlpools.inference.encode import PartFile
from mlpools.inference.scoring import Scorer
from mlpools.storage import Location
from mlpools.storage.location import Backend

#: What a place is told to do, and what it is only asked.
CHANGES = frozenset({"write", "write_file", "take", "delete", "delete_tree", "honours_once"})
LOOKS = frozenset({"info", "exists", "walk", "read", "read_range", "open"})
#: Between the calls of a place on a volume.
_CALLS = frozenset({"os.link", "os.remove", "os.rename", "shutil.rmtree"})
_TAKES_SPACE = frozenset({"os.link", "os.mkdir"})
#: Words that are said again and again until something else happens.
_POLLS = frozenset({"Dispensary.beat", "Dispensary.opened", "Dispensary.next"})

#: ``kill`` and ``stop``: this process. ``kill-pod`` and ``stop-pod``: all of its pod. ``wait``: until ``go``
#: is in the folder. ``fill``: the volume is full from then on, until ``full`` is taken away.
Act = Literal["kill", "kill-pod", "stop", "stop-pod", "wait", "fill"]


def words() -> list[tuple[type, str]]:
    """Return all words, as a class and the name of what it does."""
    return [
        *((Dispensary, name) for name in public(Dispensary)),
        *((Location, name) for name in sorted(CHANGES)),
        (PartFile, "__init__"),
        *((PartFile, name) for name in public(PartFile)),
        (Scorer, "score"),
    ]


def public(kind: type) -> list[str]:
    """Return the names of a class's public methods."""
    return [name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"]


def unclassified() -> frozenset[str]:
    """Return what a place can do and nobody has said whether it changes anything."""
    return frozenset(public(Backend)) ^ (CHANGES | LOOKS)


class Steps:
    """Counts one process's steps, and acts before one of them, once a folder.

    A step is a word and how many times it was said, such as ``Location.take#2``.
    """

    def __init__(self, role: str, folder: Path, target: str, at: str, act: Act) -> None:
        """Prepare.

        Args:
            role: of the process; ``trace-<role>`` in the folder lists its steps.
            folder: of the run.
            target: path of the output; calls of the system for other files are no steps.
            at: the step; empty for none.
            act: what happens there.
        """
        self._trace = folder / f"trace-{role}"
        self._folder, self._target, self._at, self._act = folder, target, at, act
        self._counts: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def install(self) -> None:
        """Have every word of this process counted."""
        for kind, name in words():
            setattr(kind, name, self._watched(f"{kind.__name__}.{name}", getattr(kind, name)))
        sys.addaudithook(self._audit)
        writing = HashingFile.write

        def write(file: HashingFile, data: bytes) -> int:
            self._check_space()
            return writing(file, data)

        setattr(HashingFile, writing.__name__, write)

    def _watched(self, word: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._reach(word)
            return method(*args, **kwargs)

        return watched

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not any(str(it).startswith(self._target) for it in arguments[:2]):
            return
        if event in _CALLS:
            self._reach(event)
        if event in _TAKES_SPACE or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            self._check_space()

    def _check_space(self) -> None:
        if (self._folder / "full").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _reach(self, word: str) -> None:
        with self._lock:
            self._counts[word] += 1
            if word in _POLLS and self._counts[word] > 1:
                return
            step = f"{word}#{self._counts[word]}"
            with self._trace.open("a") as trace:
                trace.write(step + "\n")
        if step == self._at and self._first():
            self._do()

    def _first(self) -> bool:
        """Whether no process has acted yet: one that is started anew counts from the beginning."""
        try:
            os.close(os.open(self._folder / f"acted-{self._act}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _do(self) -> None:
        if self._act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._act == "kill-pod":
            os.killpg(0, signal.SIGKILL)
        elif self._act.startswith("stop"):
            (self._folder / "stopped").write_text(str(os.getpid()))
            os.kill(0 if self._act == "stop-pod" else os.getpid(), signal.SIGSTOP)
        elif self._act == "fill":
            (self._folder / "full").touch()
        else:
            while not (self._folder / "go").exists():
                threading.Event().wait(0.005)
