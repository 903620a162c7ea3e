"""mlpools as one file, run by a Python that knows nothing of it, and by an image without any."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract import INJECTED_ZIP, Exit, Final, Task
from mlpools.runtime import inject
from mlpools.supervisor.status import ask
from tests.support.pods import free_ports, read_json, task, wait_for
from tests.support.web import Web

_BASE = Path(sys.base_prefix)
#: A bare Python of this version, and the oldest that is taken, if this machine has it beside that.
BARE = _BASE / "bin" / "python3"
OLDEST = next(iter(sorted(_BASE.parent.glob("3.9.*/bin/python3"))), None)
PYTHONS = [
    pytest.param(BARE, id="this version"),
    pytest.param(OLDEST, id="3.9", marks=pytest.mark.skipif(OLDEST is None, reason="no Python 3.9 here")),
]


class Pod:
    """A container of an image with a shell and perhaps a Python, and with the injected files."""

    def __init__(self, folder: Path, python: Path | None, git: bool = False) -> None:
        self.folder = folder
        injected, programs = folder / "injected", folder / "bin"
        injected.mkdir()
        programs.mkdir()
        inject.write(injected, git=git)
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
        code = self.begin(work, *bare).wait(60)
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


@pytest.mark.parametrize("python", PYTHONS)
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


@pytest.mark.parametrize("python", PYTHONS)
def test_a_segmentation_fault_is_named(tmp_path: Path, python: Path) -> None:
    pod = Pod(tmp_path, python)
    final = pod.run(script(pod, "import ctypes; ctypes.string_at(0)"))
    assert final.code == Exit.SIGNAL
    assert "SIGSEGV (a segmentation fault in native code)" in final.message


@pytest.mark.parametrize("python", PYTHONS)
def test_a_held_lock_silences_nobody_but_the_script(tmp_path: Path, python: Path) -> None:
    pod = Pod(tmp_path, python)
    text = "import re, mlpools; mlpools.report(3); re.match('(a+)+$', 'a' * 60 + 'b')"
    process = pod.begin(script(pod, text, hang_timeout_seconds=3))
    wait_for(lambda: '"step":3' in _status(pod), 30, "the report")
    assert ask("127.0.0.1", pod.port, "GET", "/healthz") == "{}"
    process.wait(40)
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


def test_an_old_python_cannot_read_git_and_says_so(tmp_path: Path) -> None:
    if OLDEST is None:
        pytest.skip("no Python 3.9 here")
    pod = Pod(tmp_path, OLDEST, git=True)
    final = pod.run(script(pod, "", code={"gitUrl": "http://127.0.0.1:1/x", "revision": "main"}))
    assert final.code == Exit.CODE_NOT_READABLE
    assert "takes Python 3.10 or newer" in final.message


def test_a_framework_that_the_image_lacks_is_said(tmp_path: Path) -> None:
    final = Pod(tmp_path, BARE).run(task(tmp_path / "out"))
    assert final.code == Exit.INVALID_SPEC
    assert "This image cannot run xgboost: it has no" in final.message


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


def test_a_bare_command_hears_that_it_is_to_stop(tmp_path: Path) -> None:
    pod = Pod(tmp_path, None)
    bare = "trap 'touch saved; exit 0' TERM; touch ready; while :; do sleep 0.05; done"
    process = pod.begin(task(tmp_path / "out", framework="script"), "/bin/sh", "-c", bare)
    wait_for((tmp_path / "ready").exists)
    process.terminate()
    assert process.wait(20) == Exit.PREEMPTED
    assert pod.final.code == Exit.PREEMPTED
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("module", ["code", "packages", "fabric.__main__"])
def test_what_comes_before_the_work_takes_the_standard_library_only(
    tmp_path: Path, python: Path, module: str
) -> None:
    inject.write(tmp_path, git=False)
    code = f"import importlib; importlib.import_module('mlpools.runtime.{module}')"
    environ = {"PYTHONPATH": str(tmp_path / INJECTED_ZIP)}
    subprocess.run([python, "-S", "-c", code], env=environ, check=True)
