"""Real supervisors with small workers: every way in which a worker, a pod or a network can end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlpools.contract.ends import Exit
from mlpools.contract.reports import Phase
from mlpools.supervisor.status import ask
from tests.support.pods import Pods, fake_worker, read_json, task, wait_for


def run_one(folder: Path, script: str, **changes: object) -> tuple[object, str, int]:
    with Pods(task(folder / "out", **changes), folder / "pods", fake_worker(script)) as pods:
        [final] = pods.wait()
        return final, pods[0].output(), pods[0].process.returncode


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", ["SIGSEGV", "segmentation fault"]),
        ("os.kill(os.getpid(), signal.SIGKILL)", ["SIGKILL"]),
        ("os._exit(3)", ["exit code 3"]),
        ("sys.exit(0)", ["exit code 0"]),
        ("note(final={'rank': 0})", ["exit code 0"]),
    ],
)
def test_a_worker_that_dies_without_a_word_is_reported(tmp_path: Path, script: str, words: list[str]) -> None:
    final, _, code = run_one(tmp_path, f"note(step=7)\n{script}")
    assert final.code == code == Exit.SIGNAL
    assert all(word in final.message for word in words), final.message
    assert "rank 0" in final.message
    assert final.step == 7


def test_a_worker_with_a_word_speaks_for_itself(tmp_path: Path) -> None:
    final, _, code = run_one(
        tmp_path,
        f"note(step=3, metrics={{'eval-rmse': 1.5}}); end({Exit.DATA_NOT_READABLE}, 'No such file.')",
    )
    assert (final.code, final.message, final.step, code) == (13, "No such file.", 3, 13)
    assert final.metrics == {"eval-rmse": 1.5}
    assert final.outputs["logsURL"].endswith("/out/logs")


def test_output_goes_to_the_container_log_and_its_end_is_kept(tmp_path: Path) -> None:
    script = "print('begin'); print('x' * 1_200_000); print('error', file=sys.stderr, flush=True); end(10)"
    _, output, _ = run_one(tmp_path, script)
    kept = (tmp_path / "out/logs/attempt-1/rank-0.log").read_text()
    assert output.startswith("begin")
    assert "error" in output
    assert len(kept) == 1_000_000
    assert kept.endswith("error\n")


def test_a_log_that_cannot_be_kept_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder should be")
    final, output, _ = run_one(tmp_path, "end(0)")
    assert final.code == Exit.DONE
    assert "the log could not be kept" in output


def test_what_a_library_wrote_when_it_failed_is_kept_beside_the_logs(tmp_path: Path) -> None:
    script = f"""
folder = os.environ["MLPOOLS_DUMPS"]
os.mkdir(folder)
open(os.path.join(folder, "collectives-rank-0"), "w").write("which rank lags behind")
open(sys.argv[1], "w").write(folder)
end({Exit.USER_CODE}, "a collective timed out")
"""
    with Pods(
        task(tmp_path / "out"), tmp_path / "pods", [*fake_worker(script), str(tmp_path / "told")]
    ) as pods:
        [final] = pods.wait()
    assert final.code == Exit.USER_CODE
    assert (tmp_path / "out/logs/attempt-1/collectives-rank-0").read_text() == "which rank lags behind"
    assert not Path((tmp_path / "told").read_text()).exists()


@pytest.mark.parametrize("still", ["time.sleep(600)", "os.kill(os.getpid(), signal.SIGSTOP)"])
def test_a_worker_that_stands_still_is_hung(tmp_path: Path, still: str) -> None:
    script = f"note(phase='Working', step=4); {still}"
    final, _, code = run_one(tmp_path, script, hang_timeout_seconds=1)
    assert final.code == code == Exit.HUNG
    assert "Rank 0 made no progress" in final.message
    assert "step 4" in final.message


def test_a_worker_that_gets_further_is_not_hung(tmp_path: Path) -> None:
    script = "for _ in range(70): note(message='evaluating'); time.sleep(0.1)\nend(0)"
    final, _, _ = run_one(tmp_path, script, hang_timeout_seconds=5)
    assert final.code == Exit.DONE


def test_what_a_worker_leaves_behind_dies_with_it(tmp_path: Path) -> None:
    """Its child neither survives nor keeps the pod waiting by holding the output open."""
    script = "pid = os.fork()\nif not pid: time.sleep(600)\nprint(pid, flush=True); end(0)"
    _, output, _ = run_one(tmp_path, script)
    child = Path(f"/proc/{output.split()[0]}/stat")
    wait_for(lambda: not child.exists() or child.read_text().split()[2] == "Z", what="the end of the child")


def test_orphans_are_reaped(tmp_path: Path) -> None:
    script = (
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    open(sys.argv[1], 'w').write(str(os.getpid())); os._exit(0)\n"
        "os.wait(); note(step=1); time.sleep(600)"
    )
    orphan = tmp_path / "orphan"
    command = [*fake_worker(script), str(orphan)]
    with Pods(task(tmp_path / "out"), tmp_path / "pods", command, subreaper=True) as pods:
        pid = wait_for(lambda: orphan.exists() and orphan.read_text(), what="the orphan")
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="its reaping")
        assert pods[0].process.poll() is None


def test_sigterm_reaches_the_worker_which_stops_in_order(tmp_path: Path) -> None:
    script = (
        f"signal.signal(signal.SIGTERM, lambda *_: end({Exit.PREEMPTED}, 'Saved round 9.'))\n"
        "note(step=9); time.sleep(600)"
    )
    with Pods(task(tmp_path / "out"), tmp_path / "pods", fake_worker(script)) as pods:
        wait_for(lambda: pods[0].step() == 9)
        pods[0].process.terminate()
        [final] = pods.wait()
    assert (final.code, final.message) == (Exit.PREEMPTED, "Saved round 9.")


def test_a_worker_that_ignores_sigterm_still_leaves_a_termination_message(tmp_path: Path) -> None:
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN); note(step=1); time.sleep(600)"
    with Pods(task(tmp_path / "out", grace_period_seconds=2), tmp_path / "pods", fake_worker(script)) as pods:
        wait_for(lambda: pods[0].step() == 1)
        began = time.monotonic()
        pods[0].process.terminate()
        [final] = pods.wait()
    assert final.code == Exit.PREEMPTED
    assert time.monotonic() - began > 1.5, "it had its time"


def test_status_tells_how_far_it_is(tmp_path: Path) -> None:
    script = (
        "note(phase='Data'); note(phase='Working', total_steps=10, totalSteps=10)\n"
        "note(step=4, metrics={'a': 1.0}, etaSeconds=2.5, checkpointStep=3); note(step=2); time.sleep(600)"
    )
    with Pods(task(tmp_path / "out", attempt=3), tmp_path / "pods", fake_worker(script)) as pods:
        report = wait_for(lambda: (r := pods[0].report()) and r.step == 4 and r)
        assert (report.phase, report.attempt, report.total_steps) == (Phase.WORKING.value, 3, 10)
        assert (report.metrics, report.eta_seconds, report.checkpoint_step) == ({"a": 1.0}, 2.5, 3)
        assert {"Starting", "Data", "FirstStep"} <= set(report.seconds)
        assert ask("127.0.0.1", pods[0].port, "GET", "/healthz") == "{}"
        with pytest.raises(OSError, match="404"):
            ask("127.0.0.1", pods[0].port, "GET", "/nothing")
        assert wait_for(lambda: (r := pods[0].report()) and r.age_seconds > report.age_seconds)


def test_a_supervisor_is_small(tmp_path: Path) -> None:
    worker = fake_worker("note(step=1); time.sleep(600)")
    with Pods(task(tmp_path / "out"), tmp_path / "pods", worker) as pods:
        wait_for(lambda: pods[0].step() == 1)
        status = Path(f"/proc/{pods[0].process.pid}/status").read_text()
        assert int(status.split("VmRSS:")[1].split()[0]) < 20_000


def test_a_task_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    broken = {"MLPOOLS_TASK": "{}"}
    with Pods(task(tmp_path / "out"), tmp_path / "pods", fake_worker("end(0)"), environ=broken) as pods:
        [final] = pods.wait()
    assert final.code == Exit.INTERNAL
    assert "MLPOOLS_TASK" in final.message


def test_workers_know_their_place(tmp_path: Path) -> None:
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR"]
    script = f"open(sys.argv[1] + str(RANK), 'w').write(json.dumps([os.environ[n] for n in {names}])); end(0)"
    work = task(tmp_path / "out", nodes=2, workers_per_node=2)
    command = [*fake_worker(script), str(tmp_path / "rank-")]
    with Pods(work, tmp_path / "pods", command) as pods:
        assert [final.code for final in pods.wait()] == [0, 0]
    told = [read_json(tmp_path / f"rank-{rank}") for rank in range(4)]
    assert [place[:5] for place in told] == [[str(r), str(r % 2), "4", "2", str(r // 2)] for r in range(4)]
    assert all(place[5] == "127.0.0.1" for place in told)


def test_of_two_workers_the_one_with_a_cause_speaks(tmp_path: Path) -> None:
    script = (
        f"note(step=1)\nif RANK == 1: end({Exit.BAD_HYPER_PARAMETER}, 'eta is too high')\ntime.sleep(600)"
    )
    final, _, _ = run_one(tmp_path, script, workers_per_node=2)
    assert (final.code, final.message) == (Exit.BAD_HYPER_PARAMETER, "Rank 1: eta is too high")


def test_a_python_without_permission_to_write_the_message_still_ends(tmp_path: Path) -> None:
    nowhere = {"MLPOOLS_TERMINATION_LOG": str(tmp_path / "no/such/folder/log")}
    with Pods(task(tmp_path / "out"), tmp_path / "pods", fake_worker("end(0)"), environ=nowhere) as pods:
        assert pods.wait() == []
        assert pods[0].process.returncode == 0
        assert "could not be written" in pods[0].output()


def test_the_supervisor_imports_nothing_heavy() -> None:
    code = "import sys, mlpools.supervisor.__main__ as _; print(*sys.modules)"
    root = Path(__file__).parents[2]
    text = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(root / "workloads")},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert not {"numpy", "asyncio", "email", "ssl", "http.client", "subprocess"} & set(text.split())
