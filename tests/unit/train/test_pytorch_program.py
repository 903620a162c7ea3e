"""PyTorch programs, as far as it takes no PyTorch: what is asked for, what is set, what a failure means."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit
from mlpools.contract.reports import Note
from mlpools.errors import (
    CodeNotReadable,
    DataNotReadable,
    InvalidSpec,
    JobError,
    PeerLost,
    Preempted,
    UserCodeError,
)
from mlpools.gang import Gang
from mlpools.runtime.launch import work
from mlpools.storage import locate
from mlpools.train.job import Job
from mlpools.train.pytorch import context, get_context
from mlpools.train.pytorch.artifacts import ArtifactManager
from mlpools.train.pytorch.failures import judge, of_command
from mlpools.train.pytorch.metrics import MetricsReporter
from mlpools.train.pytorch.rendezvous import Channel
from mlpools.train.pytorch.section import Section
from mlpools.train.reporter import Reporter
from mlpools.train.stop import Stop
from mlpools.train.torch_variables import elastic, missing
from tests.support.pods import read_json, task


def test_a_section_names_one_program() -> None:
    section = Section.from_spec({"module": "team.train", "args": ["-v"], "hyperParams": {"lr": "0.1"}})
    assert (section.program, section.args, section.backend) == ("team.train", ("-v",), "auto")
    assert section.identity == {"program": "team.train", "args": ["-v"], "hyperParams": {"lr": "0.1"}}
    for spec in ({}, {"module": "a", "file": "a.py"}):
        with pytest.raises(InvalidSpec, match="exactly one of module, file and command"):
            Section.from_spec(spec)
    with pytest.raises(InvalidSpec, match=r"'ncll'.* Did you mean 'nccl'"):
        Section.from_spec({"file": "a.py", "backend": "ncll"})


def test_what_makes_a_hang_of_nccl_end_is_set_unless_the_user_did(tmp_path: Path) -> None:
    added = missing({}, hang_seconds=1800, scratch=tmp_path)
    assert added == {
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
        "TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC": "300",
        "TORCH_NCCL_DESYNC_DEBUG": "1",
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
        "TORCH_FR_BUFFER_SIZE": "2000",
        "TORCH_FR_DUMP_TEMP_FILE": f"{tmp_path}/collectives-rank-",
    }
    assert missing({}, hang_seconds=60, scratch=tmp_path)["TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC"] == "30"
    assert missing({}, hang_seconds=0, scratch=tmp_path)["TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC"] == "300"
    users = {
        "TORCH_NCCL_TRACE_BUFFER_SIZE": "0",
        "NCCL_ASYNC_ERROR_HANDLING": "0",
        "TORCH_FR_DUMP_ON_TIMEOUT": "0",
        "TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC": "7",
    }
    left = missing(users, hang_seconds=1800, scratch=tmp_path)
    assert set(left) == {"TORCH_NCCL_DESYNC_DEBUG", "TORCH_FR_DUMP_TEMP_FILE"}
    kept = missing({"MLPOOLS_DUMPS": str(tmp_path / "kept")}, hang_seconds=0, scratch=tmp_path)
    assert kept["TORCH_FR_DUMP_TEMP_FILE"] == f"{tmp_path}/kept/collectives-rank-"
    assert (tmp_path / "kept").is_dir()


def test_a_program_can_tell_that_it_was_launched_elastically() -> None:
    ranks = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "2"}
    added = elastic(ranks, run_id="team-a/job", attempt=3)
    assert (added["GROUP_WORLD_SIZE"], added["ROLE_RANK"], added["TORCHELASTIC_RESTART_COUNT"]) == (
        "4",
        "3",
        "2",
    )
    assert added["TORCHELASTIC_USE_AGENT_STORE"] == "True"


def failure(text: str) -> JobError:
    code = compile(text, "/code/train.py", "exec")
    with pytest.raises(BaseException) as caught:
        exec(code, {})
    assert caught.tb is not None
    frames = caught.tb
    while frames.tb_frame.f_code is not code and frames.tb_next is not None:
        frames = frames.tb_next
    return judge(caught.value.with_traceback(frames), rank=2)


def test_a_user_s_exception_names_type_message_rank_and_line() -> None:
    found = failure("columns = {}\ncolumns['dep_tme']\n")
    assert (type(found), str(found)) == (UserCodeError, "Rank 2: KeyError: 'dep_tme' in train.py line 2.")
    assert found.__notes__[0].count("Traceback") == 1
    assert (
        str(failure("def f():\n    1 / 0\nf()"))
        == "Rank 2: ZeroDivisionError: division by zero in train.py line 2."
    )
    assert str(failure("import sys; sys.exit(3)")) == (
        "The program of rank 2 ended with exit code 3 in train.py line 1."
    )


@pytest.mark.parametrize(
    "words",
    [
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.1]:9",
        "Connection reset by peer",
        "Timed out waiting 1800000ms for recv operation to complete",
    ],
)
def test_what_another_rank_s_end_causes_is_no_fault_of_the_program(words: str) -> None:
    assert type(failure(f"raise RuntimeError({words!r})")) is PeerLost
    assert type(failure(f"raise ValueError({words!r})")) is UserCodeError


def test_an_error_with_a_cause_of_its_own_keeps_it() -> None:
    error = DataNotReadable("The file is gone.")
    assert judge(error, 0) is error


def test_a_command_s_failure_is_told_by_its_last_words() -> None:
    last = "Traceback (most recent call last):\n  File ...\nKeyError: 'dep_tme'\n"
    told = of_command("python train.py", 1, 1, "", last)
    assert str(told) == "Rank 1: python train.py ended with exit code 1: KeyError: 'dep_tme'."
    assert told.__notes__ == [last.strip()]
    assert str(of_command("./a", 0, -11, "", "")) == "Rank 0: ./a was killed by signal 11."
    assert "code 1: ValueError: no" in str(of_command("./a", 0, 1, "ValueError: no", "cleaning up"))
    lost = of_command(
        "./a", 0, 1, "", "RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer"
    )
    assert type(lost) is PeerLost
    last = "[rank3]: Traceback (most recent call last):\n[rank3]: KeyError: 'dep_tme'\n"
    assert (
        str(of_command("./a", 3, 1, "", last)) == "Rank 3: ./a ended with exit code 1: KeyError: 'dep_tme'."
    )


class Told(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[dict[str, Any]] = []

    def step(self, **values: Any) -> None:
        self.steps.append(values)


def reporter(folder: Path, rank: int = 0) -> tuple[Told, MetricsReporter]:
    told = Told()
    return told, MetricsReporter(Job(task(folder), Gang(rank, 2), told, Stop(1)), folder / "metrics.jsonl")


def test_metrics_of_a_step_go_to_the_status_and_into_a_line(tmp_path: Path) -> None:
    told, metrics = reporter(tmp_path)
    metrics.log_metrics({"loss": 2, "accuracy": math.nan})
    metrics.log_metrics({"loss": 1.5}, step=10, total_steps=20)
    assert [step["step"] for step in told.steps] == [1, 10]
    assert told.steps[0]["metrics"] == {"loss": 2.0}  # a status has no NaN
    assert told.steps[1]["total_steps"] == 20
    assert told.steps[1]["eta_seconds"] >= 0
    assert [row["step"] for row in metrics.rows()] == [1, 10]
    with pytest.raises(InvalidSpec, match="step 9 after step 10"):
        metrics.log_metrics({}, step=9)
    with pytest.raises(InvalidSpec, match="got list for 'loss'"):
        metrics.log_metrics({"loss": [1]})
    metrics.restore([{"step": 1, "loss": 2.0}], 4)
    metrics.log_metrics({"loss": 1.0})
    assert [row["step"] for row in metrics.rows()] == [1, 5]


def test_other_ranks_report_steps_but_keep_no_lines(tmp_path: Path) -> None:
    told, metrics = reporter(tmp_path, rank=1)
    metrics.log_metrics({"loss": 2})
    assert told.steps
    assert not metrics.rows()


def test_a_step_is_told_even_if_something_else_is_told_right_after_it() -> None:
    written: list[Note] = []

    class Written(Reporter):
        def _write(self, note: Note) -> None:
            super()._write(note)
            written.append(note)

    told = Written()
    told.step(step=1)
    told.step(step=2, metrics={"loss": 0.5})
    told.alive("Saving.")
    told.flush()
    assert [note.step for note in written] == [1, 2]
    assert (written[1].metrics, written[1].message) == ({"loss": 0.5}, "Saving.")


def test_artifacts_are_kept_and_found(tmp_path: Path) -> None:
    artifacts = ArtifactManager(locate(tmp_path / "artifacts"))
    (tmp_path / "local.txt").write_text("from a file")
    assert artifacts.upload(b"bytes", "a/b.bin") == str(tmp_path / "artifacts/a/b.bin")
    artifacts.upload(tmp_path / "local.txt", "c.txt")
    artifacts.upload({"of": "objects"}, "d.pkl")
    artifacts.upload("text", "e.txt", write_function=lambda text, path: Path(path).write_text(text) and None)
    assert artifacts.list() == ["a/b.bin", "c.txt", "d.pkl", "e.txt"]
    assert artifacts.get("d.pkl") == {"of": "objects"}
    assert artifacts.get("c.txt", read_function=lambda path: Path(path).read_text()) == "from a file"
    assert Path(artifacts.download("a/b.bin", str(tmp_path / "down"))).read_bytes() == b"bytes"


def test_get_context_says_where_it_works() -> None:
    with pytest.raises(RuntimeError, match="in the workers of a PyTorch job only"):
        get_context()


def test_alone_a_rank_agrees_with_itself() -> None:
    channel = Channel(None, "test", Gang())
    assert (channel.share(3), channel.gather(4), channel.all(True)) == (3, [4], True)


ALONE = """
import sys
from pathlib import Path
from mlpools.train.pytorch import get_context

context = get_context()
Path(context.get_model_dir(), "weights.bin").write_bytes(b"123")
context.get_metrics_reporter().log_metrics({"loss": 0.25}, step=3)
if sys.argv[1:] == ["stop"]:
    context.stop()
"""


def alone(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: dict[str, Any] | None = None,
    gang: Gang | None = None,
    **section: Any,
) -> Any:
    """Run a program that needs no PyTorch in this process, on the backend that needs none to be chosen."""
    gang = gang or Gang()
    (folder / "train.py").write_text(ALONE)
    place = {"RANK": gang.rank, "LOCAL_RANK": 0, "WORLD_SIZE": gang.world_size, "LOCAL_WORLD_SIZE": 1}
    for name, value in place.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(context, "_current", None)
    monkeypatch.setattr("atexit._run_exitfuncs", lambda: None)  # they are this process's, too
    before = dict(os.environ)
    spec = {"file": str(folder / "train.py"), "backend": "gloo", **section}
    given = task(folder / "out", framework="pytorch", spec=spec, code=code or {}, nodes=gang.world_size)
    try:
        return work(Job(given, gang, Reporter(), Stop(1)))
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def test_what_a_program_leaves_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final = alone(tmp_path, monkeypatch)
    assert (final.code, final.step, final.metrics) == (Exit.DONE, 3, {"loss": 0.25})
    assert (tmp_path / "out/model/weights.bin").read_bytes() == b"123"
    assert json.loads((tmp_path / "out/metrics.jsonl").read_text()) == {"step": 3, "loss": 0.25}
    result = read_json(tmp_path / "out/result.json")
    assert (result["program"], result["steps"]) == (str(tmp_path / "train.py"), 3)


@pytest.mark.parametrize(
    ("asked", "gpu", "used"),
    [("auto", True, "nccl"), ("auto", False, "gloo"), ("nccl", True, "nccl"), ("gloo", True, "gloo")],
)
def test_the_backend_is_nccl_where_workers_have_gpus(
    asked: str, gpu: bool, used: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "has_gpu", lambda: gpu)
    assert alone(tmp_path, monkeypatch, backend=asked).code == Exit.DONE
    assert read_json(tmp_path / "out/result.json")["backend"] == used


def test_a_gpu_that_is_asked_for_and_absent_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "has_gpu", lambda: False)
    with pytest.raises(InvalidSpec, match="Rank 0 finds no GPU for the backend nccl: use a pool whose nodes"):
        alone(tmp_path, monkeypatch, backend="nccl")


def test_a_program_that_stops_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Preempted, match="after step 3"):
        alone(tmp_path, monkeypatch, args=["stop"])
    assert not (tmp_path / "out/model").exists()


def test_an_image_without_pytorch_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidSpec, match=r"This image cannot run pytorch: it has no torch\."):
        alone(tmp_path, monkeypatch, gang=Gang(1, 2))


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CodeNotReadable, match=r"There is no file /nowhere/train\.py"):
        alone(tmp_path, monkeypatch, file="/nowhere/train.py")


def test_a_program_runs_among_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "code" / "tree"
    (tree / "team").mkdir(parents=True)
    (tree / "helpers_of_mine.py").write_text("WORD = 'found'")
    (tree / "note.txt").write_text("beside it")
    text = (
        "import helpers_of_mine as h\nfrom pathlib import Path\n"
        + ALONE
        + ("context.get_artifact_manager().upload((h.WORD + Path('note.txt').read_text()).encode(), 'a')\n")
    )
    (tree / "team" / "train.py").write_text(text)
    monkeypatch.setenv("MLPOOLS_CODE", str(tmp_path / "code"))
    before = Path.cwd(), list(sys.path)
    for name, section in {
        "file": {"file": "team/train.py"},
        "module": {"file": "", "module": "team.train"},
    }.items():
        place = tmp_path / name
        place.mkdir()
        alone(place, monkeypatch, code={"configMap": "code"}, **section)
        assert (place / "out/artifacts/a").read_bytes() == b"foundbeside it"
    assert (Path.cwd(), sys.path) == before
    with pytest.raises(CodeNotReadable, match=r"Did you mean 'team/train\.py'"):
        alone(tmp_path, monkeypatch, code={"configMap": "code"}, file="team/trian.py")


def test_a_forked_child_s_stop_is_not_its_parent_s(tmp_path: Path) -> None:
    """A DataLoader ends its workers by SIGTERM; they share the parent's pipe of signals."""
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop(1).listen()
    try:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, b"1")
            signal.pause()
            os._exit(9)
        os.read(reading, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGTERM
        assert not stop.requested
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, before)
