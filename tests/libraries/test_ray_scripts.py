"""A script beside a Ray cluster over the pods of its job."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlpools.contract import Exit
from tests.support.pods import Pods, free_ports, read_json, task, wait_for

SCRIPT = """
import json, os, pathlib, time
import ray
import mlpools
ray.init(log_to_driver=False)
@ray.remote(num_cpus=0)
def where(rank): return rank, os.getppid()
ranks = range(2)
found = ray.get([where.options(resources={f"mlpools-rank-{rank}": 1}).remote(rank) for rank in ranks])
mlpools.report(1, total=1, metrics={"nodes": len(ray.nodes())})
folder = pathlib.Path(os.environ["FOLDER"])
(folder / "found").write_text(json.dumps([found, os.environ["RAY_ADDRESS"]]))
while (folder / "hold").exists(): time.sleep(0.05)
(pathlib.Path(os.environ["MLPOOLS_OUTPUT"]) / "nodes").write_text(str(len({pid for _, pid in found})))
"""


def pods(folder: Path) -> Pods:
    mount = folder / "mount"
    mount.mkdir()
    (mount / "main.py").write_text(SCRIPT)
    work = task(
        folder / "out",
        framework="script",
        nodes=2,
        spec={"file": "main.py", "launcher": "ray"},
        code={"configMap": "mine"},
    )
    return Pods(
        work,
        folder / "pods",
        environ={
            "MLPOOLS_CODE_MOUNT": str(mount),
            "FOLDER": str(folder),
            "MLPOOLS_POD_IP": "127.0.0.1",
            "MLPOOLS_DASHBOARD_PORT": str(free_ports(1)[0]),
        },
        of_rank={rank: {"MLPOOLS_CODE": str(folder / f"code-{rank}")} for rank in range(2)},
    )


def processes() -> set[int]:
    """Return all processes of Ray on this machine."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"raylet" in words or b"gcs_server" in words:
                found.add(int(entry.name))
    return found


@pytest.mark.timeout(240)
def test_a_cluster_of_all_pods_for_as_long_as_the_command_runs(tmp_path: Path) -> None:
    before = processes()
    (tmp_path / "hold").touch()
    with pods(tmp_path) as gang:
        wait_for((tmp_path / "found").exists, 120, "the command on the cluster")
        report = gang[0].report()
        assert report is not None
        there = importlib.util.find_spec("aiohttp_cors") is not None
        assert report.dashboard.startswith("http://127.0.0.1:") == there, "only where Ray has a dashboard"
        _, address = read_json(tmp_path / "found")
        stranger = subprocess.run(
            [sys.executable, "-c", "import sys, ray; ray.init(address=sys.argv[1])", address],
            env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert stranger.returncode != 0, "a stranger without the token came in"
        (tmp_path / "hold").unlink()
        finals = gang.wait(60)
        log = gang[0].output()
    assert [final.code for final in finals] == [Exit.DONE, Exit.DONE], finals
    assert (tmp_path / "out/model/nodes").read_text() == "2"
    assert finals[0].metrics == {"nodes": 2.0}
    assert "the Ray cluster of 2 node(s) is complete after" in log
    wait_for(lambda: processes() <= before, 20, "the end of all of Ray's processes")


@pytest.mark.timeout(240)
def test_a_rank_that_does_not_join_is_named(tmp_path: Path) -> None:
    gang = pods(tmp_path)
    gang.of_rank[1] |= {"PYTHONPATH": str(tmp_path / "broken") + ":" + str(Path("workloads").resolve())}
    broken = tmp_path / "broken" / "ray"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise SystemExit('no Ray here')")
    with gang:
        finals = gang.wait(100)
    by_rank = {final.rank: final for final in finals}
    assert by_rank[1].code == Exit.PEER_LOST
    assert "Rank 1: its part of the Ray cluster ended" in by_rank[1].message
