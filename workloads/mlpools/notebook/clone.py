"""``python -m mlpools.notebook.clone``: clones a repository into a notebook's workspace, once.

What is there already is a person's own, whatever it holds, and is left alone. A clone appears whole: it is
made beside and renamed.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from pathlib import Path

from mlpools.contract import wiring
from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import Code, Notebook
from mlpools.errors import JobError, one_line
from mlpools.runtime.repository import Repository
from mlpools.train.reporter import Reporter, log

_WORK = ".mlpools/git"


def folder(url: str) -> str:
    """Return the name of a clone's folder, as git chooses it."""
    return url.rstrip("/").rpartition("/")[2].removesuffix(".git") or "repository"


def clone(code: Code, workspace: Path, mount: Path) -> None:
    """Clone a repository unless its folder is there.

    Args:
        code: which repository, and which revision of it.
        workspace: of the notebook.
        mount: folder with the Secret's files.

    Raises:
        JobError: with a cause; nothing is there then.
    """
    target, work = workspace / folder(code.git_url), workspace / _WORK
    if os.path.lexists(target):
        return
    shutil.rmtree(work, ignore_errors=True)  # of one that was killed
    work.mkdir(parents=True)
    try:
        repository = Repository(code.git_url, code.secret, mount, work, "git")
        commit = repository.clone(code.revision, work / "clone")
        (work / "clone").rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    log(f"cloned {code.git_url} at commit {commit} into {target}")


def main() -> int:
    """Clone what the notebook names and return the exit code; the supervisor is told of a failure."""
    reporter = Reporter.from_environment()
    told = Notebook.from_json(os.environ[wiring.NOTEBOOK_ENV])
    workspace = Path(os.environ.get(wiring.WORKSPACE_ENV, wiring.WORKSPACE))
    mount = Path(os.environ.get(wiring.CODE_MOUNT_ENV, wiring.CODE_MOUNT))
    try:
        clone(Code.from_dict(told.git), workspace, mount)
    except JobError as error:
        log(str(error))
        reporter.final(Final(error.code, 0, message=str(error)))
        return int(error.code)
    except Exception as error:
        log(traceback.format_exc())
        what = f"git: {told.git.get('gitUrl')} was not cloned: {type(error).__name__}: {one_line(error)}."
        reporter.final(Final(Exit.INTERNAL, 0, message=what, traceback=traceback.format_exc()))
        return int(Exit.INTERNAL)
    return int(Exit.DONE)


if __name__ == "__main__":
    sys.exit(main())
