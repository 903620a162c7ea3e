"""A script beside a Ray cluster over the pods of its job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mlpools.contract.ends import Exit
from mlpools.supervisor.status import ask
from mlpools.train.script import ray_cluster
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


def pods(folder: Path, nodes: int = 2) -> Pods:
    mount = folder / "mount"
    mount.mkdir()
    (mount / "main.py").write_text(SCRIPT)
    work = task(
        folder / "out",
        framework="script",
        nodes=nodes,
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
        of_rank={rank: {"MLPOOLS_CODE": str(folder / f"code-{rank}")} for rank in range(nodes)},
    )


def token_of(gang: Pods) -> str:
    """Ask rank 0's supervisor for the cluster's token, as the documents say."""
    asked = json.dumps({"uid": gang.task.uid, "attempt": gang.task.attempt})
    return str(json.loads(ask("127.0.0.1", gang[0].port, "POST", "/token", asked))["token"])


def answer(url: str, token: str = "") -> int:
    """Return the status code with which a dashboard answers.

    Raises:
        OSError: nobody answers there.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def processes(folder: Path) -> set[int]:
    """Return all processes of Ray that come from the gang of a folder; others on this machine may use Ray."""
    found, mark = set(), f"FOLDER={folder}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
                ours = mark in (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if ours and (b"raylet" in words or b"gcs_server" in words):
                found.add(int(entry.name))
    return found


@pytest.mark.timeout(240)
def test_a_cluster_of_all_pods_for_as_long_as_the_command_runs(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    with pods(tmp_path) as gang:
        wait_for((tmp_path / "found").exists, 120, "the command on the cluster")
        assert processes(tmp_path)
        report = gang[0].report()
        assert report is not None
        assert report.dashboard == f"http://127.0.0.1:{gang.environ['MLPOOLS_DASHBOARD_PORT']}"
        token = token_of(gang)
        wait_for(lambda: answer(report.dashboard + "/") == 200, 60, "the dashboard")
        assert answer(f"{report.dashboard}/nodes?view=summary") == 401, "a stranger's question"
        assert answer(f"{report.dashboard}/nodes?view=summary", "0" * 64) == 403
        assert answer(f"{report.dashboard}/nodes?view=summary", token) == 200
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
    assert read_json(tmp_path / "out/result.json")["seconds"]["rendezvous"] > 0
    with pytest.raises(OSError, match="refused"):
        answer(report.dashboard + "/")
    wait_for(lambda: not processes(tmp_path), 60, "the end of all of Ray's processes")


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


@pytest.mark.timeout(240)
def test_a_rank_that_never_joins_is_named_in_time(tmp_path: Path) -> None:
    gang = pods(tmp_path)
    hanging = tmp_path / "hanging" / "ray"
    hanging.mkdir(parents=True)
    (hanging / "__init__.py").write_text("import time; time.sleep(600)")
    hasty = tmp_path / "hasty"
    hasty.mkdir()
    (hasty / "sitecustomize.py").write_text(
        "from mlpools.train.script import ray_cluster; ray_cluster._JOIN_SECONDS = 3"
    )
    paths = {0: hasty, 1: hanging.parent}
    for rank, path in paths.items():
        gang.of_rank[rank] |= {"PYTHONPATH": f"{path}:{Path('workloads').resolve()}"}
    with gang:
        finals = gang.wait(150)
    by_rank = {final.rank: final for final in finals}
    assert by_rank[0].code == Exit.START_TIMEOUT
    assert by_rank[0].message.startswith(
        "Of 2 nodes, rank 1 did not join the Ray cluster within 3 s: see the log"
    )
    assert by_rank[1].code == Exit.PEER_LOST
    wait_for(lambda: not processes(tmp_path), 60, "the end of all of Ray's processes")


def test_a_node_asks_for_the_head_as_long_as_the_cluster_may_take() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from ray._private.ray_constants import NUM_REDIS_GET_RETRIES as n; print(n)"],
        env={**os.environ, **ray_cluster._PATIENT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(said.stdout) * 2 == ray_cluster._JOIN_SECONDS


@pytest.mark.timeout(240)
def test_a_cluster_of_one_node(tmp_path: Path) -> None:
    gang = pods(tmp_path, nodes=1)
    (tmp_path / "mount" / "main.py").write_text(
        "import ray; ray.init(log_to_driver=False); assert len(ray.nodes()) == 1"
    )
    with gang:
        [final] = gang.wait(120)
    assert final.code == Exit.DONE, final
