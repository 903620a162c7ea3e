"""``python -m mlpools.runtime.code``: lays down a job's own code, before its workers start.

All ranks run the same code. Rank 0 says which version that is: the commit that a branch or tag means at this
moment, or the checksum of a ConfigMap's files. The other ranks get it from rank 0's supervisor; an archive's
checksum stands in the job. Nothing is laid down before its checksum is known to be right.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shutil
import sys
import time
import traceback
from pathlib import Path

from mlpools import budgets
from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Phase
from mlpools.contract.tasks import Code, Task
from mlpools.contract.wiring import (
    CODE_ENV,
    CODE_FOLDER,
    CODE_LOCK,
    CODE_MOUNT,
    CODE_MOUNT_ENV,
    CODE_TREE,
    TASK_ENV,
)
from mlpools.document import ContractError, Document
from mlpools.errors import CodeNotReadable, JobError, one_line
from mlpools.gang import Gang
from mlpools.runtime import archives
from mlpools.runtime.repository import Repository
from mlpools.storage import local
from mlpools.supervisor.status import ask
from mlpools.train.reporter import Reporter, log

_RETRY_SECONDS = 0.5
#: Ranks that ask rank 0 at that pace; of more each asks less often.
_RANKS_PER_RETRY = 64
#: The kubelets of two machines may differ by so much in when they see a change of a ConfigMap.
_CHANGE_SECONDS = 150.0


@dataclasses.dataclass(frozen=True)
class Lock(Document):
    """What all ranks run.

    Attributes:
        uid: of the job, with ``attempt``: the lock of another attempt is not used.
        version: a commit, or the checksum of the files.
    """

    uid: str
    attempt: int
    version: str


class Fetcher:
    """Lays down the code of one pod."""

    def __init__(self, task: Task, gang: Gang, folder: Path, mount: Path) -> None:
        self._task, self._gang, self._folder, self._mount = task, gang, folder, mount
        self._code: Code = Code.from_dict(task.code)
        self._tree = folder / CODE_TREE
        self._limit = 0

    def run(self) -> None:
        """Lay the code down, and leave nothing but the code and the lock.

        Raises:
            JobError: with a cause.
        """
        work = self._folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        self._limit = budgets.disk(self._folder)
        try:
            if self._code.git_url:
                self._from_git(work)
            elif self._code.url:
                self._from_archive(work)
            else:
                self._from_config_map(work)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _from_git(self, work: Path) -> None:
        code = self._code
        repository = Repository(code.git_url, code.secret, self._mount, work)
        commit = self._agreed(repository.resolve(code.revision) if self._gang.leads else "")
        repository.lay_down(commit, code.revision, self._tree, self._limit)
        log(f"the code is commit {commit} of {code.git_url}")

    def _from_archive(self, work: Path) -> None:
        file = work / "archive"
        archives.fetch(self._code.url, self._code.sha256, file, self._limit)
        self._become(archives.unpack(file, work / "unpacked", self._code.url, self._limit))
        log(f"the code is {self._code.url}")

    def _from_config_map(self, work: Path) -> None:
        """Copy the files, since the kubelet changes them when the ConfigMap changes."""
        copy, deadline = work / "copy", time.monotonic() + _CHANGE_SECONDS
        version = _copy(self._mount, copy)
        agreed = self._agreed(version)
        while version != agreed:
            if time.monotonic() > deadline:
                raise CodeNotReadable(
                    f"ConfigMap {self._code.config_map} changed while the pods started, so rank "
                    f"{self._gang.rank} has other files than rank 0: leave it as it is while a job starts."
                )
            time.sleep(2 * _RETRY_SECONDS)
            shutil.rmtree(copy)
            version = _copy(self._mount, copy)
        self._become(copy)
        log(f"the code is ConfigMap {self._code.config_map}")

    def _become(self, prepared: Path) -> None:
        shutil.rmtree(self._tree, ignore_errors=True)
        prepared.rename(self._tree)

    def _agreed(self, version: str) -> str:
        """Return rank 0's version; if rank 0 fails, the supervisor ends the wait for it."""
        gang, task = self._gang, self._task
        if gang.leads:
            lock = Lock(task.uid, task.attempt, version)
            local.write(self._folder / CODE_LOCK, lock.to_json().encode())
            return version
        pause = _RETRY_SECONDS * max(1.0, task.nodes / _RANKS_PER_RETRY)
        while True:
            with contextlib.suppress(OSError, ContractError):
                lock = Lock.from_json(ask(gang.coordinator, gang.leader_port, "GET", "/code"))
                if (lock.uid, lock.attempt) == (task.uid, task.attempt):
                    return lock.version
            time.sleep(pause)


def _copy(mount: Path, target: Path) -> str:
    """Copy a ConfigMap's files and return a checksum of their names and contents."""
    target.mkdir()
    checksum = hashlib.sha256()
    # The keys are links into a folder that the kubelet replaces as a whole, so one look at it is one version.
    version = (mount / "..data").resolve() if (mount / "..data").exists() else mount
    for file in sorted(version.iterdir()):
        if file.is_file():
            content = file.read_bytes()
            (target / file.name).write_bytes(content)
            checksum.update(f"{file.name}\0{len(content)}\0".encode() + content)
    return checksum.hexdigest()


def main() -> int:
    """Lay down the code that the task names and return the exit code; the supervisor is told of a failure."""
    reporter = Reporter.from_environment()
    reporter.phase(Phase.CODE)
    task = Task.from_json(os.environ[TASK_ENV])
    gang = Gang.from_environment()
    folder = Path(os.environ.get(CODE_ENV, CODE_FOLDER))
    mount = Path(os.environ.get(CODE_MOUNT_ENV, CODE_MOUNT))
    try:
        Fetcher(task, gang, folder, mount).run()
    except JobError as error:
        log(f"rank {gang.rank}: {error}")
        reporter.final(Final(error.code, gang.rank, message=str(error)))
        return int(error.code)
    except Exception as error:
        log(f"rank {gang.rank}: {traceback.format_exc()}")
        what = f"Fetching the code failed: {type(error).__name__}: {one_line(error)}."
        reporter.final(Final(Exit.INTERNAL, gang.rank, message=what, traceback=traceback.format_exc()))
        return int(Exit.INTERNAL)
    return int(Exit.DONE)


if __name__ == "__main__":
    sys.exit(main())
