"""PyTorch on the cluster, in the full image: the example on real digits, killed and resumed; and torchrun."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.test_faults import KILL, RANK, checkpoint_step
from tests.support.examples import FOLDER
from tests.support.training import Training
from tests.support.waiting import wait_for

EXAMPLE = FOLDER / "pytorch"
#: Small steps, so that there is time to kill a rank between two of them.
STEPS = {"epochs": "30", "batch_size": "4"}


@pytest.fixture
def torch(training: Training, full_image: str) -> Training:
    """A pool whose nodes are large enough for PyTorch, which measures its network first."""
    training.make_pool("torch", instance={"cpu": "500m", "memory": "2Gi"}, preflight={"enabled": True})
    return training


@pytest.mark.full
@pytest.mark.e2e(seconds=240)
def test_the_example_learns_digits_on_two_nodes_and_goes_on_after_a_kill(
    torch: Training, full_image: str, volume: Path
) -> None:
    # By a job of its own: the image has scikit-learn, and the tests do not.
    digits = (EXAMPLE / "digits.py").read_text()
    torch.script("make-digits", digits, computePool="torch", script={"args": ["/data/digits"]})
    torch.completed("make-digits")
    shutil.copy(EXAMPLE / "train.py", volume / "digits")
    job = yaml.safe_load((EXAMPLE / "job.yaml").read_text())["spec"]
    job["pytorch"]["hyperParams"] |= STEPS
    changed = {"computePool": "torch", "checkpoint": {"everyRounds": 50}, "restartBackoffSeconds": 1}
    torch.submit("digits", **{**job, **changed, "xgboost": None})
    wait_for("a checkpoint", lambda: checkpoint_step(torch, "digits") >= 50, 150, every=0.3)
    (pod,) = [it for it in torch.pods("digits", attempt=1) if it["metadata"]["labels"][RANK] == "1"]
    torch.cluster.run("exec", pod["metadata"]["name"], "-c", "main", "--", "python", "-c", KILL)

    status = torch.completed("digits", seconds=200)
    assert (status["attempt"], status["restarts"]) == (2, 1), status
    assert [it["reason"] for it in status["nodes"]["failed"] if it["rank"] == 1] == ["WorkerCrashed"], status
    assert status["metrics"]["accuracy"] > 0.85
    assert status["fabric"]["verified"]
    images = {it["spec"]["containers"][0]["image"] for it in torch.pods("digits")}
    assert images == {full_image}
    folder = torch.output("digits")
    assert "going on from the checkpoint of step" in (folder / "logs/attempt-2/rank-0.log").read_text()
    # What torch.save writes is a zip archive; reading it back is a test of its own, where torch is.
    assert zipfile.is_zipfile(folder / "model/digits.pt")


SCRIPT = """
import json, os, pathlib
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(total)
if dist.get_rank() == 0:
    found = {"total": total.item(), "elastic": dist.is_torchelastic_launched()}
    pathlib.Path(os.environ["MLPOOLS_OUTPUT"], "found.json").write_text(json.dumps(found))
dist.barrier()
if dist.get_rank() == int(os.environ.get("FAILS", -1)):
    raise KeyError("dep_tme")
dist.destroy_process_group()
"""


@pytest.mark.full
@pytest.mark.e2e(seconds=120)
def test_a_script_under_torchrun_on_two_nodes(torch: Training) -> None:
    of_two: dict[str, Any] = {
        "nodes": 2,
        "workersPerNode": 2,
        "computePool": "torch",
        "script": {"launcher": "torchrun"},
    }
    torch.script("by-torchrun", SCRIPT, **of_two)
    torch.completed("by-torchrun", seconds=200)
    assert torch.found("by-torchrun") == {"total": 10.0, "elastic": True}
    torch.script("fails", SCRIPT, **of_two, env=[{"name": "FAILS", "value": "3"}])
    failed = torch.failure("fails", seconds=200)
    assert failed["reason"] == "UserCodeError"
    assert "Rank 3: main.py ended with exit code 1: KeyError: 'dep_tme'" in failed["message"]
