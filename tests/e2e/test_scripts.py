"""Scripts in pods: in an image that knows nothing of mlpools, by each launcher, with code from outside."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.archives import tar
from tests.support.forwarding import forwarded
from tests.support.package_index import PackageIndex
from tests.support.training import Training
from tests.support.waiting import wait_for
from tests.support.web import Web
from tools import images
from tools.quickstart.follow import condition

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


@pytest.fixture
def own_image(built: dict[str, images.Archive]) -> dict[str, Any]:
    """An image that is not the pool's, and a Python in it that knows nothing of mlpools."""
    return {"runtime": {"image": built["operator"].reference}, "env": PLAIN}


@pytest.fixture
def web(outside: str, tmp_path: Path) -> Iterator[Web]:
    with Web(tmp_path / "web", host=outside) as web:
        yield web


@pytest.fixture
def shelf(training: Training, outside: str, tmp_path: Path) -> Iterator[str]:
    """A pool whose jobs install from an index on this machine, but for one package."""
    with PackageIndex(tmp_path / "index", host=outside) as index:
        index.wheel("cat_food", "1.0")
        index.wheel("cat", "1.0", needs=["cat-food"])
        index.wheel("dog_food", "1.0")
        index.wheel("dog", "1.0", needs=["dog-food"])
        training.make_pool("shelf", packages={"indexURL": index.url, "block": ["dog-food"]})
        yield "shelf"


@pytest.mark.full
@pytest.mark.e2e(seconds=40)
def test_an_image_that_knows_nothing_of_mlpools(training: Training, own_image: dict[str, Any]) -> None:
    training.script("own-image", ONE, nodes=2, **own_image)
    status = training.completed("own-image")
    assert status["metrics"] == {"loss": 0.5}
    seen = training.found("own-image")
    assert seen["mlpools"].startswith("/mlpools/mlpools.pyz/")
    assert not seen["python"].startswith("/opt/mlpools")
    assert (seen["RANK"], seen["WORLD_SIZE"]) == ("0", "2")


@pytest.mark.full
@pytest.mark.e2e(seconds=40)
def test_a_segmentation_fault_in_an_image_of_ones_own(training: Training, own_image: dict[str, Any]) -> None:
    training.script("crash", "import ctypes; ctypes.string_at(0)", maxRestarts=0, **own_image)
    failed = training.failure("crash")
    assert "SIGSEGV (a segmentation fault in native code)" in failed["message"]
    assert "Rank 0" in failed["message"]


@pytest.mark.full
@pytest.mark.e2e(seconds=60)
def test_a_held_lock_in_an_image_of_ones_own(training: Training, own_image: dict[str, Any]) -> None:
    script = "import re, mlpools; mlpools.report(3); re.match('(a+)+$', 'a' * 60 + 'b')"
    training.script("held", script, maxRestarts=0, hangTimeoutSeconds=10, **own_image)
    failed = training.failure("held")
    assert "made no progress for" in failed["message"]


@pytest.mark.full
@pytest.mark.e2e(seconds=80)
def test_a_bare_command_says_that_its_progress_is_unknown(
    training: Training, own_image: dict[str, Any]
) -> None:
    command = "while [ ! -e /data/models/bare/go ]; do sleep 0.2; done; exit 3"
    no_python = {"env": [*PLAIN, {"name": "PYTHONHOME", "value": "/nowhere"}]}
    script = {"command": ["sh", "-c", command]}
    training.submit("bare", nodes=1, xgboost=None, data={}, script=script, **{**own_image, **no_python})

    def unknown() -> Any:
        return condition(training.status("bare"), "ProgressUnknown")

    told = wait_for("the condition ProgressUnknown", unknown, 90)
    assert told["reason"] == "RunsBare"
    assert "The image has no Python 3.9 or newer" in told["message"]
    folder = training.output("bare")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go").touch()
    failed = training.failure("bare")
    assert failed["reason"] == "UserCodeError"
    assert "Rank 0: the command ended with exit code 3" in failed["message"]
    assert not unknown()


@pytest.mark.full
@pytest.mark.e2e(seconds=30)
def test_an_exception_is_told_with_its_rank(training: Training) -> None:
    script = "import os, time\nif os.environ['RANK'] == '1': raise KeyError('dep_tme')\ntime.sleep(600)"
    training.script("raises", script, nodes=2)
    failed = training.failure("raises")
    assert failed["reason"] == "UserCodeError"
    assert "Rank 1: main.py ended with exit code 1: KeyError: 'dep_tme'" in failed["message"]


@pytest.mark.full
@pytest.mark.e2e(seconds=150)
def test_a_ray_cluster_over_the_pods(training: Training) -> None:
    script = """
import json, os, pathlib, time
import ray
ray.init(log_to_driver=False)
@ray.remote(num_cpus=0)
def host(): return os.uname().nodename
while not pathlib.Path("/data/models/on-ray-seen").exists(): time.sleep(0.1)
ranks = range(2)
hosts = ray.get([host.options(resources={f"mlpools-rank-{rank}": 1}).remote() for rank in ranks])
pathlib.Path(os.environ["MLPOOLS_OUTPUT"], "found.json").write_text(json.dumps({"hosts": hosts}))
"""
    training.make_pool(
        "ray", instance={"cpu": "500m", "memory": "2Gi"}, placement={"strategy": "Spread", "required": True}
    )
    training.script("on-ray", script, nodes=2, computePool="ray", script={"launcher": "ray"})
    _look_at_the_dashboard(training)
    (training.volume / "models" / "on-ray-seen").touch()
    status = training.completed("on-ray", seconds=240)
    hosts = training.found("on-ray")["hosts"]
    assert len(set(hosts)) == 2
    assert status["dashboardURL"] == "", "the dashboard is gone with the script"
    log = (training.output("on-ray") / "logs/attempt-1/rank-0.log").read_text()
    assert "the Ray cluster of 2 node(s) is complete after" in log


def _look_at_the_dashboard(training: Training) -> None:
    """Reach it as the documents say: through Kubernetes, with the token of rank 0's supervisor."""
    url = wait_for("the dashboard's address", lambda: training.status("on-ray").get("dashboardURL"), 240)
    assert url.endswith(f".{training.namespace}.svc.cluster.local:8265"), url
    where = f"--namespace={training.namespace}"
    assert url in training.cluster.run("describe", "trainingjob", "on-ray", where)
    job = training.get("on-ray")
    asked = json.dumps({"uid": job["metadata"]["uid"], "attempt": job["status"]["attempt"]}).encode()
    pod = next(
        pod["metadata"]["name"] for pod in training.pods("on-ray") if "-1-0-" in pod["metadata"]["name"]
    )
    with forwarded(training.cluster, pod, 8265, 8470, namespace=training.namespace) as (page, report):
        with urllib.request.urlopen(f"{report}/token", data=asked, timeout=20) as reply:
            token = json.load(reply)["token"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{page}/nodes?view=summary", timeout=20)
        login = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{page}/nodes?view=summary", headers=login)
        with urllib.request.urlopen(request, timeout=20) as reply:
            assert len(json.load(reply)["data"]["summary"]) == 2


@pytest.mark.full
@pytest.mark.e2e(seconds=60)
def test_code_from_an_archive_and_from_git(training: Training, web: Web) -> None:
    packed = tar({"project/main.py": ONE})
    archive = {"url": web.file("code.tar.gz", packed), "sha256": hashlib.sha256(packed).hexdigest()}
    repository = web.repository("code")
    repository.commit({"main.py": ONE})
    training.script("archive", "", script={"code": archive})
    training.script("git", "", nodes=2, script={"code": {"git": {"url": repository.url, "revision": "main"}}})
    for name in ("archive", "git"):
        training.completed(name)
    assert training.found("git")["WORLD_SIZE"] == "2"
    training.script("no-branch", "", script={"code": {"git": {"url": repository.url, "revision": "mian"}}})
    failed = training.failure("no-branch")
    assert failed["reason"] == "CodeNotReadable"
    assert "Did you mean 'main'?" in failed["message"]


@pytest.mark.full
@pytest.mark.e2e(seconds=90)
def test_packages_come_from_the_pools_index_and_by_its_policy(
    training: Training, own_image: dict[str, Any], shelf: str
) -> None:
    script = """
import json, os, pathlib
import cat, cat_food
pathlib.Path(os.environ["MLPOOLS_OUTPUT"], "found.json").write_text(json.dumps([cat.version, cat.__file__]))
"""
    runtime = {"packages": ["cat==1.0"]}
    training.script("of-ours", script, nodes=2, computePool=shelf, runtime=runtime)
    image = own_image["runtime"]["image"]
    training.script("of-mine", script, computePool=shelf, runtime={**runtime, "image": image}, env=PLAIN)
    training.script("blocked", script, computePool=shelf, runtime={"packages": ["cat==1.0", "dog==1.0"]})
    for name in ("of-ours", "of-mine"):
        training.completed(name)
        version, file = json.loads((training.output(name) / "model" / "found.json").read_text())
        assert (version, file) == ("1.0", "/scratch/mlpools-packages/lib/cat.py")
    failed = training.failure("blocked")
    assert failed["reason"] == "PackageNotAllowed"
    assert "dog-food, which dog needs: its packages.block has dog-food" in failed["message"]
