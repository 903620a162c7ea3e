"""A real API server with our kinds, an administrator, and operators as processes under their own account."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import pytest
import yaml

from mlpools_operator.api.v1alpha1 import KINDS
from mlpools_operator.domain.kinds import JOB_KINDS
from tests.support.bench import Bench
from tests.support.kube import ApiError, Kube, Object
from tests.support.kubelet import Kubelet
from tests.support.machines import Machines
from tests.support.manifests import manifest
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for
from tools.binaries import binary
from tools.cluster.controlplane import ControlPlane

_ROOT = Path(__file__).parents[2]
_CHART = _ROOT / "charts" / "mlpools"
_NAMESPACE = "mlpools-system"
#: The rights, and the class without which no placeholder is let in.
_RIGHTS = ("--show-only=templates/rbac.yaml", "--show-only=templates/priorityclass.yaml")
_numbers = count(1)


Benches = Callable[[Path], AbstractContextManager[Bench]]


@pytest.fixture(scope="session")
def kube(control_plane: ControlPlane) -> Iterator[Kube]:
    """The API server as its administrator; our kinds are served."""
    with _administrator(control_plane) as kube:
        yield kube


@contextmanager
def _administrator(control: ControlPlane) -> Iterator[Kube]:
    kube = Kube(control.server, control.ca, control.token)
    for path in sorted((_ROOT / "crds").glob("*.yaml")):
        for crd in yaml.safe_load_all(path.read_text()):
            kube.apply(crd)
    wait_for("served kinds", lambda: _served(kube))
    yield kube
    kube.close()


def _served(kube: Kube) -> bool:
    try:
        return all(isinstance(kube.list(kind), list) for kind in KINDS)
    except ApiError:
        return False


@pytest.fixture(scope="session")
def rights() -> Callable[..., list[Object]]:
    """Renders the chart's rights of the operator, with some values set."""

    def render(*values: str) -> list[Object]:
        chosen = [argument for value in values for argument in ("--set", value)]
        command = ["template", "mlpools", str(_CHART), f"--namespace={_NAMESPACE}", "--kube-version=1.36.0"]
        text = subprocess.run(
            [str(binary("helm")), *command, *_RIGHTS, *chosen],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        return [document for document in yaml.safe_load_all(text) if document]

    return render


@pytest.fixture(scope="session")
def service_account(kube: Kube, rights: Callable[..., list[Object]]) -> str:
    """The operator's account with the chart's rights over the whole cluster."""
    return _account(kube, rights)


def _account(kube: Kube, rights: Callable[..., list[Object]]) -> str:
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    return kube.grant(rights())


@pytest.fixture(scope="session")
def rights_in(rights: Callable[..., list[Object]]) -> Callable[[str], list[Object]]:
    """What the chart grants inside a namespace when only some are served."""
    name = "one-of-a-list"
    text = json.dumps(
        [it for it in rights(f"namespaces={{{name}}}") if it["metadata"].get("namespace") == name]
    )

    def render(namespace: str) -> list[Object]:
        documents: list[Object] = json.loads(text.replace(name, namespace))
        return documents

    return render


@pytest.fixture(scope="session")
def benches(
    kube: Kube, control_plane: ControlPlane, service_account: str, rights_in: Callable[[str], list[Object]]
) -> Benches:
    """Makes benches: each a namespace and a pool of four nodes; what they started is stopped at their end."""
    return _benches(kube, control_plane, service_account, rights_in)


def _benches(
    kube: Kube, control: ControlPlane, service_account: str, rights_in: Callable[[str], list[Object]]
) -> Benches:
    @contextmanager
    def make(folder: Path) -> Iterator[Bench]:
        number = next(_numbers)
        namespace, pool = f"team-{number}", f"pool-{number}"
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for right in rights_in(namespace):
            kube.apply(right)
        wait_for("service account", lambda: kube.find("ServiceAccount", "default", namespace))
        kube.create(manifest("ComputePool", pool, {"maxNodes": 4}))
        kubeconfig = control.kubeconfig_for(service_account, _NAMESPACE)
        bench = Bench(kube, Kubelet(kube, namespace), namespace, pool, folder, kubeconfig)
        yield bench
        for operator in bench.operators:
            operator.kill()
        for kind in (*JOB_KINDS, "NotebookRuntime"):
            for job in kube.list(kind, namespace):
                kube.delete(kind, job["metadata"]["name"], namespace)
        kube.delete("ComputePool", pool)
        kube.delete("Namespace", namespace)

    return make


@pytest.fixture(scope="session")
def scheduled_benches(
    tmp_path_factory: pytest.TempPathFactory,
    rights: Callable[..., list[Object]],
    rights_in: Callable[[str], list[Object]],
) -> Iterator[Benches]:
    """Makes benches in a cluster of their own, where a real scheduler looks for machines."""
    control = ControlPlane(tmp_path_factory.mktemp("scheduled"), controller_manager=True, scheduler=True)
    control.start()
    with _administrator(control) as kube:
        yield _benches(kube, control, _account(kube, rights), rights_in)
    control.stop()


@pytest.fixture
def scheduled(scheduled_benches: Benches, tmp_path: Path) -> Iterator[tuple[Bench, Machines]]:
    """A bench of the test's own whose pods get only the machines that the test makes."""
    with scheduled_benches(tmp_path) as bench, Machines(bench.kube) as machines:
        yield bench, machines


@pytest.fixture
def bench(benches: Benches, tmp_path: Path) -> Iterator[Bench]:
    """A bench of the test's own."""
    with benches(tmp_path) as bench:
        yield bench


@pytest.fixture(params=JOB_KINDS)
def either(bench: Bench, request: pytest.FixtureRequest) -> Bench:
    """A bench for each kind of job: what a test sees there holds for all of them."""
    return bench.of(request.param)


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[Proxy]:
    """A proxy before the API server, at which a test makes faults happen."""
    proxy = Proxy(control_plane.server, control_plane.ca)
    yield proxy
    proxy.close()


@pytest.fixture
def through_proxy(bench: Bench, proxy: Proxy, control_plane: ControlPlane, service_account: str) -> Path:
    """A kubeconfig with which the operator goes through the proxy."""
    return proxy.kubeconfig(bench.folder, control_plane.token_for(service_account, _NAMESPACE))
