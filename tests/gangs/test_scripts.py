"""Scripts under real supervisors: what they find, what they leave, and every way in which they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Phase
from mlpools.supervisor.status import ask
from mlpools.train.script import program
from tests.support.pods import Pods, read_json, task, wait_for


class Gang:
    """Pods that run a script out of a ConfigMap."""

    def __init__(self, folder: Path, script: str, nodes: int = 1, **changes: Any) -> None:
        self.folder = folder
        mount = folder / "mount"
        mount.mkdir()
        (mount / "main.py").write_text(script)
        spec = {"file": "main.py", **changes.pop("spec", {})}
        work = task(folder / "out", framework="script", nodes=nodes, spec=spec, code={"configMap": "mine"})
        self.pods = Pods(
            type(work)(**{**vars(work), **changes}),
            folder / "pods",
            of_rank={rank: {"MLPOOLS_CODE": str(folder / f"code-{rank}")} for rank in range(nodes)},
            environ={"MLPOOLS_CODE_MOUNT": str(mount), "FOLDER": str(folder)},
        )

    def run(self) -> list[Final]:
        with self.pods as pods:
            return pods.wait()


def test_a_script_finds_its_place_and_leaves_its_model(tmp_path: Path) -> None:
    script = """
import json, os, pathlib, sys
import mlpools
names = ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MLPOOLS_ATTEMPT", "MLPOOLS_JOB", "MLPOOLS_OUTPUT_URL"]
found = {name: os.environ[name] for name in names}
found["hidden"] = [name for name in ("MLPOOLS_TASK", "MLPOOLS_REPORT_FD") if name in os.environ]
found["folder"], found["argv"] = os.listdir("."), sys.argv[1:]
pathlib.Path(os.environ["FOLDER"], f"found-{os.environ['RANK']}").write_text(json.dumps(found))
pathlib.Path(os.environ["MLPOOLS_OUTPUT"], "model.txt").write_text("model of rank " + os.environ["RANK"])
for step in (1, 2):
    mlpools.report(step, total=2, metrics={"loss": 1 / step})
"""
    gang = Gang(tmp_path, script, 2, spec={"args": ["--fast"]})
    finals = gang.run()
    assert [final.code for final in finals] == [0, 0], finals
    found = [read_json(tmp_path / f"found-{rank}") for rank in range(2)]
    assert [it["RANK"] for it in found] == ["0", "1"]
    assert all(it["WORLD_SIZE"] == "2" and it["hidden"] == [] for it in found)
    assert all(it["folder"] == ["main.py"] and it["argv"] == ["--fast"] for it in found)
    assert found[0]["MLPOOLS_JOB"] == "team-a/job"
    assert (tmp_path / "out/model/model.txt").read_text() == "model of rank 0"
    assert (finals[0].step, finals[0].metrics) == (2, {"loss": 0.5})
    rows = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 1.0), (2, 0.5)]
    result = read_json(tmp_path / "out/result.json")
    assert (result["framework"], result["parameters"]["file"]) == ("script", "main.py")
    assert Phase.CODE.value in finals[0].seconds


def test_an_exception_is_the_jobs_end_with_its_words(tmp_path: Path) -> None:
    script = """
import os, pathlib, time
there = pathlib.Path(os.environ["FOLDER"], "there")
if os.environ["RANK"] == "1":
    while not there.exists(): time.sleep(0.01)
    print("some words before", flush=True)
    raise KeyError("dep_tme")
there.touch()
time.sleep(600)
"""
    finals = Gang(tmp_path, script, 2).run()
    assert finals[1].code == Exit.USER_CODE
    assert finals[1].message == "Rank 1: main.py ended with exit code 1: KeyError: 'dep_tme'."
    assert "some words before" in finals[1].traceback
    assert 'raise KeyError("dep_tme")' in finals[1].traceback
    assert finals[0].code == Exit.PEER_LOST
    assert not (tmp_path / "out/result.json").exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV (a segmentation fault"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os; os.abort()", "SIGABRT"),
    ],
)
def test_a_crash_names_its_signal(tmp_path: Path, script: str, words: str) -> None:
    [final] = Gang(tmp_path, script).run()
    assert final.code == Exit.SIGNAL
    assert final.message.startswith("Rank 0: main.py was killed by ")
    assert words in final.message


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    [final] = Gang(tmp_path, "", spec={"file": "", "command": ["no-such-program"]}).run()
    assert final.code == Exit.CODE_NOT_READABLE
    assert "'no-such-program' cannot be started" in final.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    [final] = Gang(tmp_path, "", spec={"file": "mian.py"}).run()
    assert final.code == Exit.CODE_NOT_READABLE
    assert "Did you mean 'main.py'?" in final.message


def test_the_job_waits_for_every_rank_to_end_well(tmp_path: Path) -> None:
    """Rank 0 is done long before rank 1 fails: there is no result then."""
    script = """
import os, pathlib, sys, time
if os.environ["RANK"] == "1":
    while not pathlib.Path(os.environ["FOLDER"], "go").exists(): time.sleep(0.02)
    sys.exit("rank 1 is not content")
"""
    gang = Gang(tmp_path, script, 2)
    with gang.pods as pods:
        wait_for(lambda: (it := pods[0].report()) and it.phase == Phase.FINISHING.value)
        (tmp_path / "go").touch()
        finals = pods.wait()
    assert finals[1].code == Exit.USER_CODE
    assert "rank 1 is not content" in finals[1].message
    assert finals[0].code == Exit.PEER_LOST
    assert not (tmp_path / "out/result.json").exists()


def test_a_stop_reaches_the_script_and_is_no_fault_of_it(tmp_path: Path) -> None:
    script = """
import os, pathlib, signal, sys, time
import mlpools
def save(*_):
    pathlib.Path(os.environ["FOLDER"], "saved").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
mlpools.report(1)
time.sleep(600)
"""
    gang = Gang(tmp_path, script)
    with gang.pods as pods:
        wait_for(lambda: pods[0].step() == 1)
        pods[0].process.terminate()
        [final] = pods.wait()
    assert final.code == Exit.PREEMPTED
    assert (tmp_path / "saved").exists()
    assert not (tmp_path / "out/result.json").exists()


#: Holds Python's lock for ever, and computes: a match that tries every way to cut the text.
HOLDS_THE_GIL = "import re; re.match('(a+)+$', 'a' * 60 + 'b')"


def test_a_script_that_reported_and_holds_the_gil_is_hung(tmp_path: Path) -> None:
    script = f"import mlpools; mlpools.report(3)\n{HOLDS_THE_GIL}"
    gang = Gang(tmp_path, script, hang_timeout_seconds=6)
    with gang.pods as pods:
        wait_for(lambda: pods[0].step() == 3)
        assert ask("127.0.0.1", pods[0].port, "GET", "/healthz") == "{}", "its supervisor still answers"
        [final] = pods.wait()
    assert final.code == Exit.HUNG
    assert "last finished step 3" in final.message


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ("end = time.monotonic() + 7\nwhile time.monotonic() < end: pass", Exit.DONE),
        ("for _ in range(35): print('.', flush=True); time.sleep(0.2)", Exit.DONE),
        ("time.sleep(600)", Exit.HUNG),
    ],
    ids=["computes", "speaks", "sleeps"],
)
def test_a_script_that_never_reports_is_hung_only_if_it_does_nothing(
    tmp_path: Path, work: str, code: Exit
) -> None:
    [final] = Gang(tmp_path, f"import time\n{work}", hang_timeout_seconds=4).run()
    assert final.code == code, final.message


def test_a_rank_that_waits_for_a_working_rank_0_is_not_hung(tmp_path: Path) -> None:
    script = """
import os, pathlib, time
go = pathlib.Path(os.environ["FOLDER"], "go")
if os.environ["RANK"] == "0":
    end = time.monotonic() + 8
    while time.monotonic() < end: pass
    go.touch()
while not go.exists(): time.sleep(0.5)
"""
    finals = Gang(tmp_path, script, 2, hang_timeout_seconds=4).run()
    assert [final.code for final in finals] == [Exit.DONE, Exit.DONE], finals


def test_the_token_is_for_who_knows_the_job(tmp_path: Path) -> None:
    gang = Gang(tmp_path, "import time; time.sleep(600)", 2)
    with gang.pods as pods:
        wait_for(lambda: pods[0].report() and pods[1].report())

        def told(**asked: Any) -> dict[str, str]:
            answer: dict[str, str] = json.loads(
                ask("127.0.0.1", pods[0].port, "POST", "/token", json.dumps(asked))
            )
            return answer

        token = told(uid="uid-1", attempt=1)["token"]
        assert len(token) == 64
        assert told(uid="uid-1", attempt=1)["token"] == token
        assert told(uid="uid-2", attempt=1) == told(uid="uid-1", attempt=2) == told() == {}


#: What torchrun says of a process that failed.
TORCHRUN = """
============================================================
main.py FAILED
Root Cause (first observed failure):
[0]:
  time      : 2026-01-01_00:00:00
  host      : one
  rank      : {rank} (local_rank: 1)
  exitcode  : {code} (pid: 17)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
"""


@pytest.mark.parametrize(
    ("code", "words", "kind", "message"),
    [
        (
            1,
            "Traceback …\nValueError: no\n",
            "UserCodeError",
            "Rank 2: it ended with exit code 1: ValueError: no.",
        ),
        (3, "", "UserCodeError", "Rank 2: it ended with exit code 3 without a word."),
        (4, "the disk is full.\n", "UserCodeError", "Rank 2: it ended with exit code 4: the disk is full."),
        (-9, "", "WorkerCrashed", "Rank 2: it was killed by SIGKILL (killed from outside"),
        (
            1,
            "ValueError: no\ntorch.distributed.elastic.multiprocessing.errors.ChildFailedError:\n",
            "UserCodeError",
            "Rank 2: it ended with exit code 1: ValueError: no.",
        ),
        (
            1,
            TORCHRUN.format(rank=3, code=-11),
            "WorkerCrashed",
            "Rank 3: it was killed by SIGSEGV (a segmentation fault in native code).",
        ),
        (
            1,
            "[rank3]: ValueError: no\n[rank2]: RuntimeError: [gloo/transport/tcp/pair.cc] closed\n"
            + TORCHRUN.format(rank=3, code=7),
            "UserCodeError",
            "Rank 3: it ended with exit code 7: ValueError: no.",
        ),
        (
            1,
            "[rank2]: torch.distributed.DistBackendError: [2] is getting 'ncclUniqueId' from [0] failed\n",
            "PeerLost",
            "Rank 2 lost the other ranks: torch.distributed.DistBackendError: [2] is",
        ),
        (
            1,
            "RuntimeError: Broken pipe\n",
            "PeerLost",
            "Rank 2 lost the other ranks: RuntimeError: Broken",
        ),
        (
            1,
            "ValueError: Broken pipe\n",
            "UserCodeError",
            "Rank 2: it ended with exit code 1: ValueError: Broken pipe.",
        ),
    ],
)
def test_how_a_program_ended(code: int, words: str, kind: str, message: str) -> None:
    error = program.judge(code, 2, "it", words)
    assert type(error).__name__ == kind
    assert str(error).startswith(message)


def test_reports_outside_of_a_job_go_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import mlpools

    monkeypatch.delenv("MLPOOLS_REPORT_PIPE", raising=False)
    mlpools.report(1, metrics={"loss": 0.5})
    monkeypatch.setenv("MLPOOLS_REPORT_PIPE", str(tmp_path / "gone"))
    mlpools.report(1)
    with pytest.raises(ValueError, match="at most 4096"):
        mlpools.report(1, metrics={"x" * 5000: 1})
