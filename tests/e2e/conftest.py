"""A cluster of the tests' own: real kubelets, the operator from the chart, gone when the tests end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tenants
from tests.support.notebooks import Notebooks
from tests.support.plugin import Person
from tests.support.training import Training
from tools import images
from tools.cluster.instance import Instance
from tools.images.keys import USUAL
from tools.kubectl import Kubectl
from tools.quickstart import data, install

NAME = f"e2e-{os.getpid()}"


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest) -> dict[str, images.Archive]:
    """The images of this working tree, by target; the full one, of 8 GB, only if a chosen test needs it."""
    needed = any("full_image" in getattr(item, "fixturenames", ()) for item in request.session.items)
    return images.build(*USUAL, *(["runtime-full"] if needed else []))


@pytest.fixture(scope="session")
def full_image(built: dict[str, images.Archive]) -> str:
    """The full runtime image, which the operator then gives to jobs that need it."""
    return built["runtime-full"].reference


@pytest.fixture(scope="session")
def instance(
    tmp_path_factory: pytest.TempPathFactory, built: dict[str, images.Archive]
) -> Iterator[Instance]:
    """Two nodes and their control plane; the kernel ends them when the test process dies."""
    one = Instance(NAME, tmp_path_factory.mktemp("cluster"), audit=True, fsync=False, die_with_parent=True)
    one.up(archives=[path for archive in built.values() for path in archive.paths])
    yield one
    one.down()


@pytest.fixture(scope="session")
def cluster(instance: Instance, built: dict[str, images.Archive]) -> Kubectl:
    """The cluster with the operator installed and ready."""
    kubectl = Kubectl(instance.kubeconfig)
    references = {target: archive.reference for target, archive in built.items()}
    install.operator(kubectl, references, replicas=install.LOCAL_REPLICAS)
    return kubectl


@pytest.fixture(scope="session")
def flights(cluster: Kubectl, built: dict[str, images.Archive]) -> data.Flights:
    """The quickstart's data, in the volume claim `flights` of the namespace `default`."""
    made = data.make()
    data.make_claim(cluster)
    data.load(cluster, made, built["runtime"].reference)
    return made


@pytest.fixture(scope="session")
def volume(instance: Instance, flights: data.Flights) -> Path:
    """The same volume as a folder of this machine."""
    found = [path.parent for path in (instance.state / "storage").rglob("flights") if path.is_dir()]
    return next(path for path in found if (path / "flights" / "train").exists())


@pytest.fixture(scope="session")
def outside(instance: Instance) -> str:
    """An address of this machine that pods reach, as they would a service outside of their cluster."""
    # What comes from a pod gets the instance's own address, which this machine can answer.
    hook = "{ type nat hook postrouting priority 100 ; }"
    chain = f"add table ip outside; add chain ip outside leave {hook};"
    instance.inside.run("nft", f'{chain} add rule ip outside leave oifname "uplink" masquerade')
    return instance.gateway


@pytest.fixture
def training(cluster: Kubectl, volume: Path) -> Iterator[Training]:
    """Makes pools and TrainingJobs on the flights, and removes them after the test."""
    maker = Training(cluster, volume)
    yield maker
    maker.remove()


@pytest.fixture(scope="session")
def guest_room(cluster: Kubectl, volume: Path) -> str:
    """A second namespace, which has the flights, too."""
    return tenants.make(cluster, volume, "guests")


@pytest.fixture
def guests(cluster: Kubectl, volume: Path, guest_room: str) -> Iterator[Training]:
    """Makes TrainingJobs in the second namespace, and removes them after the test."""
    maker = Training(cluster, volume, guest_room)
    yield maker
    maker.remove()


@pytest.fixture
def notebooks(cluster: Kubectl, volume: Path, instance: Instance) -> Iterator[Notebooks]:
    """Makes notebooks that see the flights, and removes them with their workspaces after the test."""
    maker = Notebooks(cluster, volume, instance)
    yield maker
    maker.remove()


@pytest.fixture
def person(cluster: Kubectl, monkeypatch: pytest.MonkeyPatch) -> Person:
    """The cluster's administrator, with kubectl on the PATH."""
    folder = Path(cluster.program("kubectl")).parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert cluster.kubeconfig is not None
    return Person(cluster.kubeconfig, "default")
