"""The chart with a real Helm, rendered and installed into a real API server."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlpools_operator.api.v1alpha1 import GROUP, KINDS
from tests.support.waiting import PATIENCE
from tools.binaries import binary
from tools.cluster.controlplane import ControlPlane
from tools.kubectl import Kubectl
from tools.quickstart.install import CHART, NAMESPACE, RELEASE

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]

#: Helm built from its module believes in an old Kubernetes where there is none to ask.
KUBERNETES = "--kube-version=1.36.0"
CRDS = tuple(f"{kind.plural}.{GROUP}" for kind in KINDS.values())


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Helm without a cluster; the test looks at how it ended."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(binary("helm")), *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """Render the chart with some values, each written as for `--set`; return its objects."""

    def run(*values: str) -> list[Manifest]:
        options = [part for value in values for part in ("--set", value)]
        done = helm("template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", KUBERNETES, *options)
        assert not done.returncode, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return run


@pytest.fixture(scope="session")
def project_version() -> str:
    """As pyproject.toml says."""
    version: str = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    return version


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """The API server as its administrator, with the namespace that a release goes to."""
    kubectl = Kubectl(control_plane.kubeconfig)
    for name in (NAMESPACE, "team-a", "team-b"):
        kubectl.run("create", "namespace", name)
    return kubectl


@pytest.fixture
def release(kubectl: Kubectl) -> Iterator[Callable[..., str]]:
    """Install or upgrade a release, without waiting (no node runs its pod); all is removed afterwards."""
    names = set()

    def install(*options: str, name: str = RELEASE, chart: Path = CHART) -> str:
        names.add(name)
        return kubectl.helm("upgrade", "--install", name, str(chart), f"--namespace={NAMESPACE}", *options)

    yield install
    for name in names:
        kubectl.helm("uninstall", name, f"--namespace={NAMESPACE}", "--ignore-not-found")
    kubectl.run("delete", "customresourcedefinition", *CRDS, "--ignore-not-found")
