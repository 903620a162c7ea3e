"""``python -m mlpools.notebook.packages``: installs again what a notebook's workspace says it has.

What people install in a notebook comes from the pool's index, by the pool's policy, as what a spec names:
all of it is resolved together, is checked, and only then installed. What the image has stays as it is.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mlpools.contract import wiring
from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import Notebook, Packages
from mlpools.errors import InvalidSpec, JobError, one_line
from mlpools.notebook import kept
from mlpools.notebook.kept import Record
from mlpools.refusals import package_name, required_package
from mlpools.runtime import packages as installing
from mlpools.runtime.index import Index
from mlpools.runtime.pinned import Pinned
from mlpools.storage import local
from mlpools.train.reporter import Reporter, log


class Change(NamedTuple):
    """What became of a wish.

    Attributes:
        new: packages that were installed, or are of another version now.
        gone: names of those that are no more.
    """

    new: Sequence[Pinned]
    gone: Sequence[str]


class WorkspacePackages:
    """The packages of one notebook, for the image that this process runs in.

    Attributes:
        library: folder from which kernels import them.
    """

    def __init__(self, rules: Packages, namespace: str, workspace: Path, mount: Path, image: str) -> None:
        """Prepare.

        Args:
            rules: of the pool.
            namespace: of the notebook, in which the Secrets are.
            workspace: of the notebook.
            mount: folder with the Secrets' files.
            image: as ``kept.image`` names it.
        """
        self._rules, self._namespace, self._mount = rules, namespace, mount
        self._workspace, self._image = workspace, image
        self.library = kept.library(workspace, image)

    @classmethod
    def from_environment(cls) -> WorkspacePackages:
        """Read the environment of the pod; what Python finds now counts as the image's.

        Raises:
            InvalidSpec: this is no notebook.
        """
        if wiring.NOTEBOOK_LIBRARY_ENV not in os.environ:
            raise InvalidSpec("This works in a notebook only, in its kernels and terminals.")
        told = Notebook.from_json(os.environ[wiring.NOTEBOOK_ENV])
        return cls(
            Packages.from_dict(told.packages),
            told.namespace,
            Path(os.environ.get(wiring.WORKSPACE_ENV, wiring.WORKSPACE)),
            Path(os.environ.get(installing.MOUNT_ENV, wiring.PACKAGES_MOUNT)),
            Path(os.environ[wiring.NOTEBOOK_LIBRARY_ENV]).name,
        )

    @property
    def record(self) -> Record:
        """What is installed."""
        return kept.read(self._workspace)

    def add(self, wanted: Iterable[str], *, upgrade: bool = False) -> Change:
        """Install packages; of what is there as little as possible changes.

        Args:
            wanted: requirements.
            upgrade: take the newest versions of them.

        Raises:
            JobError: with a cause; nothing was changed then.
        """
        with kept.alone():
            record, named = self.record, {required_package(it): it for it in wanted}
            asked = [it for it in record.asked if required_package(it) not in named]
            pinned = [Pinned.from_dict(it) for it in record.packages]
            stays = [it for it in pinned if not upgrade or it.name not in named]
            return self._become([*asked, *named.values()], stays)

    def remove(self, names: Iterable[str]) -> Change:
        """Do without packages, and without what only they need.

        Raises:
            JobError: with a cause; nothing was changed then.
        """
        with kept.alone():
            record, unwanted = self.record, {package_name(it) for it in names}
            asked = [it for it in record.asked if required_package(it) not in unwanted]
            return self._become(asked, [Pinned.from_dict(it) for it in record.packages])

    def restore(self) -> Change:
        """Install what the record says, for this image.

        Raises:
            JobError: with a cause; nothing was changed then.
        """
        with kept.alone():
            record = self.record
            pinned = [Pinned.from_dict(it) for it in record.packages]
            if not record.asked or kept.is_whole(self._workspace, self._image):
                return Change((), ())
            # Of an installation that was killed uv takes half a package for a whole one.
            shutil.rmtree(self.library, ignore_errors=True)
            return self._become(record.asked, pinned)

    def _become(self, asked: Sequence[str], preferred: Sequence[Pinned]) -> Change:
        work = self._workspace / kept.FOLDER / "work"
        shutil.rmtree(work, ignore_errors=True)  # of an installation that was killed
        work.mkdir(parents=True)
        try:
            index = Index(self._rules, self._namespace, self._mount, work)
            packages = installing.resolve(index, self._rules, asked, preferred)
            change = self._lay_down(index, packages)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        record = Record(asked, [it.to_dict() for it in packages], self._image)
        local.write(kept.record_file(self._workspace), record.to_json().encode())
        for folder in self.library.parent.iterdir():
            if folder.is_dir() and folder != self.library:  # for an image that it has no more
                shutil.rmtree(folder, ignore_errors=True)
        kept.set_notice("")
        return change

    def _lay_down(self, index: Index, packages: Sequence[Pinned]) -> Change:
        self.library.mkdir(parents=True, exist_ok=True)
        there = kept.versions(self.library)
        new = [it for it in packages if there.get(it.name) != it.version]
        index.turn_into(packages, new, self.library)
        try:
            installing.refuse_hiding(self.library)
        except JobError:
            before = [it for it in map(Pinned.from_dict, self.record.packages) if it.name in there]
            index.turn_into(before, [it for it in before if it.name in {it.name for it in new}], self.library)
            raise
        names = {it.name for it in packages}
        return Change(new, sorted(there.keys() - names))


def main() -> int:
    """Restore the packages of the workspace and return the exit code; the supervisor is told of a failure."""
    reporter = Reporter.from_environment()
    try:
        change = WorkspacePackages.from_environment().restore()
    except JobError as error:
        log(str(error))
        reporter.final(Final(error.code, 0, message=str(error)))
        return int(error.code)
    except Exception as error:
        log(traceback.format_exc())
        what = f"{type(error).__name__}: {one_line(error)}."
        reporter.final(Final(Exit.INTERNAL, 0, message=what, traceback=traceback.format_exc()))
        return int(Exit.INTERNAL)
    if change.new:
        log(f"restored {', '.join(f'{it.name} {it.version}' for it in change.new)}")
    return int(Exit.DONE)


if __name__ == "__main__":
    sys.exit(main())
