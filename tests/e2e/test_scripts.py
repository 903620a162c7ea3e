"""Scripts in pods: in an image that knows nothing of mlpools, by each launcher, with code from outside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.archives import tar
from tests.support.training import Training
from tests.support.web import Web
from tools import images

#: Debian's own Python, which has nothing but the standard library; the image's other one is not found.
PLAIN = [{"name": "PATH", "value": "/usr/local/bin:/usr/bin:/bin"}]
ONE = """
import json, os, pathlib, sys
import mlpools
found = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE")}
found |= {"mlpools": mlpools.__file__, "python": sys.executable}
mlpools.report(1, total=1, metrics={"loss": 0.5})
pathlib.Path(os.environ["MLPOOLS_OUTPUT"], "found.json").write_text(json.dumps(found))
"""


def submit(training: Training, name: str, text: str, *, nodes: int = 1, **spec: Any) -> None:
    """Apply a job with a script out of a ConfigMap; keywords replace top-level fields of its spec."""
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"main.py": text},
    }
    training.cluster.apply(json.dumps(config), namespace=training.namespace)
    section = {"file": "main.py", "code": {"configMap": name}, **spec.pop("script", {})}
    training.submit(name, nodes=nodes, xgboost=None, data={}, script=section, **spec)


def found(training: Training, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((training.output(name) / "model" / "found.json").read_text())
    return document


@pytest.fixture
def own_image(built: dict[str, images.Archive]) -> dict[str, Any]:
    """An image that is not the pool's, and a Python in it that knows nothing of mlpools."""
    return {"runtime": {"image": built["operator"].reference}, "env": PLAIN}


@pytest.fixture
def web(outside: str, tmp_path: Path) -> Iterator[Web]:
    with Web(tmp_path / "web", host=outside) as web:
        yield web


@pytest.mark.full
@pytest.mark.e2e(seconds=40)
def test_an_image_that_knows_nothing_of_mlpools(training: Training, own_image: dict[str, Any]) -> None:
    submit(training, "own-image", ONE, nodes=2, **own_image)
    status = training.completed("own-image")
    assert status["metrics"] == {"loss": 0.5}
    seen = found(training, "own-image")
    assert seen["mlpools"].startswith("/mlpools/mlpools.pyz/")
    assert not seen["python"].startswith("/opt/mlpools")
    assert (seen["RANK"], seen["WORLD_SIZE"]) == ("0", "2")


@pytest.mark.full
@pytest.mark.e2e(seconds=40)
def test_a_segmentation_fault_in_an_image_of_ones_own(training: Training, own_image: dict[str, Any]) -> None:
    submit(training, "crash", "import ctypes; ctypes.string_at(0)", maxRestarts=0, **own_image)
    failed = training.failure("crash")
    assert "SIGSEGV (a segmentation fault in native code)" in failed["message"]
    assert "Rank 0" in failed["message"]


@pytest.mark.full
@pytest.mark.e2e(seconds=60)
def test_a_held_lock_in_an_image_of_ones_own(training: Training, own_image: dict[str, Any]) -> None:
    script = "import re, mlpools; mlpools.report(3); re.match('(a+)+$', 'a' * 60 + 'b')"
    submit(training, "held", script, maxRestarts=0, hangTimeoutSeconds=10, **own_image)
    failed = training.failure("held")
    assert "made no progress for" in failed["message"]


@pytest.mark.full
@pytest.mark.e2e(seconds=30)
def test_an_exception_is_told_with_its_rank(training: Training) -> None:
    script = "import os, time\nif os.environ['RANK'] == '1': raise KeyError('dep_tme')\ntime.sleep(600)"
    submit(training, "raises", script, nodes=2)
    failed = training.failure("raises")
    assert failed["reason"] == "UserCodeError"
    assert "Rank 1: main.py ended with exit code 1: KeyError: 'dep_tme'" in failed["message"]


@pytest.mark.full
@pytest.mark.e2e(seconds=150)
def test_a_ray_cluster_over_the_pods(training: Training) -> None:
    script = """
import json, os, pathlib
import ray
ray.init(log_to_driver=False)
@ray.remote(num_cpus=0)
def host(): return os.uname().nodename
ranks = range(2)
hosts = ray.get([host.options(resources={f"mlpools-rank-{rank}": 1}).remote() for rank in ranks])
pathlib.Path(os.environ["MLPOOLS_OUTPUT"], "found.json").write_text(json.dumps({"hosts": hosts}))
"""
    training.make_pool(
        "ray", instance={"cpu": "500m", "memory": "2Gi"}, placement={"strategy": "Spread", "required": True}
    )
    submit(training, "on-ray", script, nodes=2, computePool="ray", script={"launcher": "ray"})
    status = training.completed("on-ray", seconds=240)
    hosts = found(training, "on-ray")["hosts"]
    assert len(set(hosts)) == 2
    assert status["dashboardURL"] == "", "the dashboard is gone with the script"
    log = (training.output("on-ray") / "logs/attempt-1/rank-0.log").read_text()
    assert "the Ray cluster of 2 node(s) is complete after" in log


@pytest.mark.full
@pytest.mark.e2e(seconds=60)
def test_code_from_an_archive_and_from_git(training: Training, web: Web) -> None:
    packed = tar({"project/main.py": ONE})
    archive = {"url": web.file("code.tar.gz", packed), "sha256": hashlib.sha256(packed).hexdigest()}
    repository = web.repository("code")
    repository.commit({"main.py": ONE})
    submit(training, "archive", "", script={"code": archive})
    submit(
        training, "git", "", nodes=2, script={"code": {"git": {"url": repository.url, "revision": "main"}}}
    )
    for name in ("archive", "git"):
        training.completed(name)
    assert found(training, "git")["WORLD_SIZE"] == "2"
    submit(training, "no-branch", "", script={"code": {"git": {"url": repository.url, "revision": "mian"}}})
    failed = training.failure("no-branch")
    assert failed["reason"] == "CodeNotReadable"
    assert "Did you mean 'main'?" in failed["message"]
