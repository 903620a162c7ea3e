"""``python -m mlpools.runtime.packages``: installs what a job asks for, before its workers start.

Rank 0 resolves once: every package that is needed and is not in the image, with its version and the
checksums of its files. The other ranks get that list from rank 0's supervisor, and all install exactly it, so
no two ranks can differ, whatever happens on the index meanwhile. The pool's policy is asked for each name
of the list before anything is installed.

Packages of the image stay as they are: none is replaced, and none is hidden by a module of the same name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.machinery
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Phase
from mlpools.contract.tasks import Packages, Task
from mlpools.contract.wiring import (
    PACKAGES_ENV,
    PACKAGES_FOLDER,
    PACKAGES_LIBRARY,
    PACKAGES_LOCK,
    PACKAGES_MOUNT,
    TASK_ENV,
)
from mlpools.document import ContractError, Document
from mlpools.errors import JobError, PackageNotAllowed, PackagesNotResolved, SecretMissing, one_line
from mlpools.gang import Gang
from mlpools.refusals import package_refusals, required_package
from mlpools.runtime.index import Index
from mlpools.runtime.pinned import Pinned, Wheel
from mlpools.storage import local
from mlpools.supervisor.status import ask
from mlpools.train.reporter import Reporter, log

#: Where the files are that a pod is promised; tests set another than ``PACKAGES_MOUNT``.
MOUNT_ENV = "MLPOOLS_PACKAGES_MOUNT"
_REQUIREMENTS = "requirements.txt"
_RETRY_SECONDS = 0.5
#: Ranks that ask rank 0 at that pace; of more each asks less often.
_RANKS_PER_RETRY = 64
#: Python's own modules, as far as Python tells: before 3.10 it names those only that are built in.
_STDLIB = frozenset(getattr(sys, "stdlib_module_names", sys.builtin_module_names))
#: What a wheel may bring beside modules.
_NO_MODULES = frozenset({"bin", "share", "include", "etc", "__pycache__"})


@dataclasses.dataclass(frozen=True)
class Lock(Document):
    """What all ranks install.

    Attributes:
        uid: of the job, with ``attempt``: the lock of another attempt is not used.
        packages: ``Pinned`` ones as plain JSON.
        wheels: ``Wheel`` files of theirs as plain JSON, where the pool has a cache for them.
    """

    uid: str
    attempt: int
    packages: Sequence[dict[str, Any]] = ()
    wheels: Sequence[dict[str, Any]] = ()


class Installer:
    """One pod's installation."""

    def __init__(self, task: Task, gang: Gang, folder: Path, mount: Path) -> None:
        self._task, self._gang, self._folder, self._mount = task, gang, folder, mount
        self._packages: Packages = Packages.from_dict(task.packages)

    def run(self) -> None:
        """Install, and leave nothing but the packages and the lock.

        Raises:
            JobError: with a cause.
        """
        work = self._folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        try:
            index = Index(self._packages, self._task.namespace, self._mount, work)
            lock = self._resolve(index) if self._gang.leads else self._ask_leader()
            self._install(index, lock)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _resolve(self, index: Index) -> Lock:
        wanted = [*self._packages.wanted, *self._requirements()]
        packages = resolve(index, self._packages, wanted)
        wheels = index.wheels(packages) if packages and self._packages.cached else []
        plain = ([it.to_dict() for it in packages], [it.to_dict() for it in wheels])
        lock = Lock(self._task.uid, self._task.attempt, *plain)
        local.write(self._folder / PACKAGES_LOCK, lock.to_json().encode())
        return lock

    def _requirements(self) -> Iterator[str]:
        """Read the lines of the job's requirements file.

        Raises:
            SecretMissing: the ConfigMap is not there.
            PackageNotAllowed: a line says where to get a package from.
        """
        where = self._packages.requirements
        if not where:
            return
        try:
            text = (self._mount / _REQUIREMENTS).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise SecretMissing(
                f"runtime.requirements: {where} is not in namespace {self._task.namespace}. Make it there."
            ) from None
        yield from lines(text, where)

    def _ask_leader(self) -> Lock:
        """Wait for what rank 0 resolved; if rank 0 fails, the supervisor ends this."""
        gang, task = self._gang, self._task
        pause = _RETRY_SECONDS * max(1.0, task.nodes / _RANKS_PER_RETRY)
        while True:
            with contextlib.suppress(OSError, ContractError):
                lock = Lock.from_json(ask(gang.coordinator, gang.leader_port, "GET", "/packages"))
                if (lock.uid, lock.attempt) == (task.uid, task.attempt):
                    return lock
            time.sleep(pause)

    def _install(self, index: Index, lock: Lock) -> None:
        packages = [Pinned.from_dict(it) for it in lock.packages]
        if not packages:
            return
        library = self._folder / PACKAGES_LIBRARY
        began = time.monotonic()
        index.install(packages, [Wheel.from_dict(it) for it in lock.wheels], library)
        refuse_hiding(library)
        names = ", ".join(f"{package.name} {package.version}" for package in packages)
        log(f"installed {names} in {time.monotonic() - began:.1f} s")


def lines(text: str, where: str) -> Iterator[str]:
    """Yield the requirements of a file.

    Args:
        text: of the file.
        where: what the file is called, for messages.

    Raises:
        PackageNotAllowed: a line says where to get a package from.
    """
    for raw in text.replace("\\\n", " ").splitlines():
        line = f" {raw}".partition(" #")[0].strip()
        if line and required_package(line.partition("--hash")[0]) is None:
            raise PackageNotAllowed(
                f"{line.split()[0]!r} in {where} is not a name with versions. "
                "Options and addresses are not taken: packages come from the pool's index."
            )
        if line:
            yield line


def resolve(
    index: Index, rules: Packages, wanted: Sequence[str], preferred: Sequence[Pinned] = ()
) -> list[Pinned]:
    """Return what has to be installed, all of which the pool's policy takes.

    Args:
        index: of the pool.
        rules: of the pool.
        wanted: requirements.
        preferred: versions that are taken where nothing speaks against them.

    Raises:
        PackageNotAllowed: some must not be installed; it names them all.
        PackagesNotResolved: they cannot be had, or not together.
        PackageIndexUnavailable: the index does not answer.
    """
    _check(rules, ((required_package(it.partition("--hash")[0]) or it, "") for it in wanted))
    packages = index.resolve(wanted, preferred)
    _check(rules, ((it.name, it.needed_by) for it in packages))
    return packages


def _check(rules: Packages, packages: Iterable[tuple[str, str]]) -> None:
    """Hold packages, each with who needs it, to the pool's policy."""
    refused = package_refusals(packages, rules.allow, rules.block)
    if refused:
        raise PackageNotAllowed(
            f"The pool does not take {refused}. Leave out what is named, use an image that has it, or "
            "ask the pool's administrator to allow it."
        )


def refuse_hiding(library: Path) -> None:
    """Refuse a folder of packages of which one would hide a module of the image or of Python.

    Raises:
        PackagesNotResolved: one would.
    """
    paths = [path for path in sys.path if path and Path(path) not in (library, Path.cwd())]
    importlib.invalidate_caches()
    for entry in sorted(library.iterdir()):
        name = entry.name.partition(".")[0]
        if not name or entry.name in _NO_MODULES or entry.suffix in (".dist-info", ".pth"):
            continue
        if entry.is_dir() and not (entry / "__init__.py").exists():
            continue  # a part of a namespace, beside which the image may have others
        there = importlib.machinery.PathFinder.find_spec(name, paths)
        if name in _STDLIB or (there is not None and there.origin is not None):
            raise PackagesNotResolved(
                f"The packages bring a module {name}, which the image has already, and what the image has "
                "stays as it is. Do without them, or use an image that has them instead."
            )


def main() -> int:
    """Install what the task asks for and return the exit code; the supervisor is told of a failure."""
    reporter = Reporter.from_environment()
    reporter.phase(Phase.PACKAGES)
    task = Task.from_json(os.environ[TASK_ENV])
    gang = Gang.from_environment()
    folder = Path(os.environ.get(PACKAGES_ENV, PACKAGES_FOLDER))
    mount = Path(os.environ.get(MOUNT_ENV, PACKAGES_MOUNT))
    try:
        Installer(task, gang, folder, mount).run()
    except JobError as error:
        log(f"rank {gang.rank}: {error}")
        reporter.final(Final(error.code, gang.rank, message=str(error)))
        return int(error.code)
    except Exception as error:
        log(f"rank {gang.rank}: {traceback.format_exc()}")
        what = f"Installing packages failed: {type(error).__name__}: {one_line(error)}."
        reporter.final(Final(Exit.INTERNAL, gang.rank, message=what, traceback=traceback.format_exc()))
        return int(Exit.INTERNAL)
    return int(Exit.DONE)


if __name__ == "__main__":
    sys.exit(main())
