"""mlpools as one file, run by a Python that knows nothing of it, and by an image without any."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.tasks import Packages, Task
from mlpools.contract.wiring import INJECTED_ZIP, NOTEBOOK_ENV
from mlpools.runtime import inject
from mlpools.supervisor.status import ask
from tests.support.package_index import PackageIndex
from tests.support.pods import free_ports, read_json, task, wait_for
from tests.support.waiting import PATIENCE
from tests.support.web import Web

_BASE = Path(sys.base_prefix)
#: A bare Python of this version, and the oldest that is taken where there is one beside it. Everywhere the
#: lint stage sees that nothing needs a newer one.
BARE = _BASE / "bin" / "python3"
PYTHONS = [BARE, *sorted(_BASE.parent.glob("3.9.*/bin/python3"))[:1]]


def _version(python: Path) -> str:
    return python.parents[1].name


class Pod:
    """A container of an image with a shell and perhaps a Python, and with the injected files."""

    def __init__(self, folder: Path, python: Path | None, git: bool = False, with_uv: bool = False) -> None:
        self.folder = folder
        injected, programs = folder / "injected", folder / "bin"
        injected.mkdir()
        programs.mkdir()
        inject.write(injected, git=git, with_uv=with_uv)
        self.start = injected / "start"
        if python is not None:
            (programs / "python3").symlink_to(python)
        for name in ("sleep", "touch", "cat"):
            (programs / name).symlink_to(shutil.which(name) or name)
        self.port = free_ports(1)[0]
        self.environ = {
            "PATH": str(programs),
            "MLPOOLS_TERMINATION_LOG": str(folder / "termination"),
            "MLPOOLS_STATUS_PORT": str(self.port),
            "MLPOOLS_CODE": str(folder / "code"),
            "MLPOOLS_PACKAGES": str(folder / "packages"),
            "MLPOOLS_CACHE": str(folder / "cache"),
            "MLPOOLS_CODE_MOUNT": str(folder / "mount"),
            "JOB_COMPLETION_INDEX": "0",
        }

    def begin(self, work: Task, *bare: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                ["/bin/sh", str(self.start), str(work.nodes), work.coordinator, *bare],
                env={**self.environ, "MLPOOLS_TASK": work.to_json()},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def run(self, work: Task, *bare: str) -> Final:
        code = self.begin(work, *bare).wait(PATIENCE)
        final = self.final
        assert final.code == code, self.log
        return final

    @property
    def final(self) -> Final:
        return Final.from_json((self.folder / "termination").read_text())

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


def script(pod: Pod, text: str, **changes: Any) -> Task:
    mount = pod.folder / "mount"
    mount.mkdir()
    (mount / "main.py").write_text(text)
    fields = {"spec": {"file": "main.py"}, "code": {"configMap": "mine"}, **changes}
    return task(pod.folder / "out", framework="script", **fields)


@pytest.mark.parametrize("python", PYTHONS, ids=_version)
def test_a_bare_python_runs_a_script_with_all_that_a_job_has(tmp_path: Path, python: Path) -> None:
    pod = Pod(tmp_path, python)
    text = """
import os, pathlib, sys
import mlpools
try:
    import pyarrow
except ImportError:
    bare = True
mlpools.report(1, total=1, metrics={"bare": bare})
pathlib.Path(os.environ["MLPOOLS_OUTPUT"], "version").write_text("%d.%d" % sys.version_info[:2])
"""
    final = pod.run(script(pod, text))
    assert (final.code, final.step, final.metrics) == (Exit.DONE, 1, {"bare": 1.0}), pod.log
    assert read_json(tmp_path / "out/result.json")["framework"] == "script"
    assert (tmp_path / "out/metrics.jsonl").exists()
    assert (tmp_path / "out/logs/attempt-1/rank-0.log").exists()
    assert (tmp_path / "out/model/version").read_text().startswith("3.")


@pytest.mark.parametrize("python", PYTHONS, ids=_version)
def test_a_segmentation_fault_is_named(tmp_path: Path, python: Path) -> None:
    pod = Pod(tmp_path, python)
    final = pod.run(script(pod, "import ctypes; ctypes.string_at(0)"))
    assert final.code == Exit.SIGNAL
    assert "SIGSEGV (a segmentation fault in native code)" in final.message


@pytest.mark.parametrize("python", PYTHONS, ids=_version)
def test_of_several_workers_the_one_that_failed_is_named(tmp_path: Path, python: Path) -> None:
    pod = Pod(tmp_path, python)
    text = "import os, signal\nif os.environ['RANK'] == '1': raise ValueError('odd')\nsignal.pause()"
    final = pod.run(script(pod, text, workers_per_node=2))
    assert final.code == Exit.USER_CODE, pod.log
    assert final.message == "Rank 1: main.py ended with exit code 1: ValueError: odd."


@pytest.mark.parametrize("python", PYTHONS, ids=_version)
def test_a_held_lock_silences_nobody_but_the_script(tmp_path: Path, python: Path) -> None:
    pod = Pod(tmp_path, python)
    text = "import re, mlpools; mlpools.report(3); re.match('(a+)+$', 'a' * 60 + 'b')"
    process = pod.begin(script(pod, text, hang_timeout_seconds=6))
    wait_for(lambda: '"step":3' in _status(pod), what="the report")
    assert ask("127.0.0.1", pod.port, "GET", "/healthz") == "{}"
    process.wait(PATIENCE)
    assert pod.final.code == Exit.HUNG


def _status(pod: Pod) -> str:
    try:
        return ask("127.0.0.1", pod.port, "GET", "/status")
    except OSError:
        return ""


def test_a_bare_python_reads_git_with_what_was_brought_along(tmp_path: Path) -> None:
    pod = Pod(tmp_path, BARE, git=True)
    with Web(tmp_path / "web") as web:
        repository = web.repository("code")
        repository.commit({"main.py": "print('from git')"})
        code = {"gitUrl": repository.url, "revision": "main"}
        final = pod.run(script(pod, "", code=code))
    assert final.code == Exit.DONE, pod.log
    assert "from git" in pod.log


@pytest.mark.parametrize("python", PYTHONS, ids=_version)
def test_an_image_without_an_installer_gets_packages_by_what_was_brought_along(
    tmp_path: Path, python: Path
) -> None:
    pod = Pod(tmp_path, python, with_uv=True)
    with PackageIndex(tmp_path / "index") as index:
        index.wheel("cat", "1.0", needs=["cat-food"])
        index.wheel("cat_food", "2.0")
        packages = Packages(wanted=["cat==1.0"], index_url=index.url, cached=True)
        text = "import cat, cat_food; assert (cat.version, cat_food.version) == ('1.0', '2.0')"
        final = pod.run(script(pod, text, packages=packages.to_dict()))
    assert final.code == Exit.DONE, pod.log
    assert "installed cat 1.0, cat-food 2.0" in pod.log


@pytest.mark.parametrize(
    ("framework", "spec", "words"),
    [
        ("xgboost", {}, "cannot run xgboost: it has no "),
        ("pytorch", {"file": "train.py"}, "cannot run pytorch: it has no "),
        (
            "script",
            {"file": "train.py", "launcher": "torchrun"},
            "cannot run script.launcher torchrun: it has no torch.",
        ),
        ("script", {"file": "train.py", "launcher": "ray"}, "cannot run script.launcher ray: it has no ray."),
    ],
)
def test_what_the_image_lacks_is_said(
    tmp_path: Path, framework: str, spec: dict[str, str], words: str
) -> None:
    final = Pod(tmp_path, BARE).run(task(tmp_path / "out", framework=framework, spec=spec))
    assert final.code == Exit.INVALID_SPEC
    assert f"This image {words}" in final.message


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("exit 0", Exit.DONE, ""),
        (
            "echo $RANK of $WORLD_SIZE at $MASTER_ADDR; exit 3",
            Exit.USER_CODE,
            "Rank 0: the command ended with",
        ),
        ("kill -s SEGV $$", Exit.SIGNAL, "killed by signal 11"),
    ],
)
def test_an_image_without_python_runs_a_command_bare(
    tmp_path: Path, command: str, code: Exit, words: str
) -> None:
    pod = Pod(tmp_path, None)
    final = pod.run(task(tmp_path / "out", framework="script"), "/bin/sh", "-c", command)
    assert final.code == code
    assert words in final.message
    assert "progress is unavailable" in pod.log
    assert "echo" not in command or "0 of 1 at 127.0.0.1" in pod.log


def test_an_image_without_the_program(tmp_path: Path) -> None:
    final = Pod(tmp_path, None).run(task(tmp_path / "out", framework="script"), "no-such-program")
    assert final.code == Exit.CODE_NOT_READABLE


def test_what_takes_python_is_refused_without_one(tmp_path: Path) -> None:
    final = Pod(tmp_path, None).run(task(tmp_path / "out", framework="script"))
    assert final.code == Exit.INVALID_SPEC
    assert "has no Python 3.9 or newer" in final.message


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/bin/sh", "-c", "exit 3"], "The command ended with exit code 3"),
        ([], "only a command without runtime.packages and git runs."),
    ],
)
def test_a_notebooks_bare_command_is_told_in_its_own_words(
    tmp_path: Path, command: list[str], words: str
) -> None:
    pod = Pod(tmp_path, None)
    pod.environ[NOTEBOOK_ENV] = "{}"
    final = pod.run(task(tmp_path / "out", framework="script"), *command)
    assert words in final.message
    assert "script" not in final.message
    assert bool(command) == ("it does not stop by itself" in pod.log)


def test_a_bare_command_hears_that_it_is_to_stop(tmp_path: Path) -> None:
    pod = Pod(tmp_path, None)
    bare = "trap 'touch saved; exit 0' TERM; touch ready; while :; do sleep 0.05; done"
    process = pod.begin(task(tmp_path / "out", framework="script"), "/bin/sh", "-c", bare)
    wait_for((tmp_path / "ready").exists)
    process.terminate()
    assert process.wait(PATIENCE) == Exit.PREEMPTED
    assert pod.final.code == Exit.PREEMPTED
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("python", PYTHONS, ids=_version)
@pytest.mark.parametrize("module", ["code", "packages", "fabric.__main__"])
def test_what_comes_before_the_work_takes_the_standard_library_only(
    tmp_path: Path, python: Path, module: str
) -> None:
    inject.write(tmp_path, git=False)
    code = f"import importlib; importlib.import_module('mlpools.runtime.{module}')"
    environ = {"PYTHONPATH": str(tmp_path / INJECTED_ZIP)}
    subprocess.run([python, "-S", "-c", code], env=environ, check=True)
