"""The ways to and from a notebook before a real API server: what is made is accepted, and goes again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mlpools.contract.reports import Activity
from tests.support.bench import Bench
from tests.support.kube import Object
from tests.support.manifests import manifest
from tests.support.rank_0 import Rank0, rank_0
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

NAME = "nb-alice"
#: As an API server makes it of itself; this one has nobody to be found by.
API_SERVER: Object = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "kubernetes"},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.0.0.7"]}],
    "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
}


@pytest.fixture
def pod() -> Iterator[Rank0]:
    with rank_0() as answering:
        answering.value = Activity(attempt=1, serving=True, unused_seconds=0.0, untouched_seconds=0.0)
        yield answering


@pytest.fixture
def notebooks(bench: Bench) -> Bench:
    return bench.of("NotebookRuntime")


def run(bench: Bench, pod: Rank0, **fields: Any) -> Object:
    """Make a notebook and start its pod; return it once it serves."""
    bench.kube.create(
        manifest("NotebookRuntime", "alice", {"computePool": bench.pool, **fields}), bench.namespace
    )
    bench.kubelet.run(bench.kubelet.pods("alice", 1, 1), pod.address)
    return bench.phase("alice", "Running")


def test_it_gets_a_host_and_gives_it_back(notebooks: Bench, pod: Rank0) -> None:
    bench = notebooks
    bench.operator(
        notebooks_domain="notebooks.example.com", ingress_annotations='{"example.com/issuer": "wildcard"}'
    ).wait_ready()
    status = run(bench, pod, access={"ingress": {"className": "nginx", "tls": {}}})["status"]
    made = bench.kube.get("Ingress", NAME, bench.namespace)
    host = made["spec"]["rules"][0]["host"]
    assert status["url"] == f"https://{host}/"
    assert made["metadata"]["annotations"]["example.com/issuer"] == "wildcard"
    bench.change("alice", access={"ingress": None})
    wait_for("no host", lambda: bench.kube.find("Ingress", NAME, bench.namespace) is None)
    wait_for("the inner URL", lambda: bench.job("alice")["status"]["url"].startswith(f"http://{NAME}."))


def test_it_may_connect_to_what_its_spec_lists_and_is_told_what_nobody_can_find(
    notebooks: Bench, pod: Rank0
) -> None:
    bench = notebooks
    bench.kube.apply(API_SERVER, "default", manager="kube-apiserver")
    bench.operator().wait_ready()
    wanted = ["nowhere.invalid:443", "10.20.1.1/16", "fd00::/8", "10.1.2.3:5432"]
    run(bench, pod, egress=wanted)
    spec = bench.kube.get("NetworkPolicy", NAME, bench.namespace)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    blocks = {peer["ipBlock"]["cidr"] for rule in spec["egress"] for peer in rule["to"] if "ipBlock" in peer}
    assert {"10.20.0.0/16", "fd00::/8", "10.1.2.3/32", "10.0.0.7/32"} <= blocks
    (told,) = [it for it in bench.job("alice")["status"]["conditions"] if it["type"] == "EgressIncomplete"]
    assert "nowhere.invalid:443 stays closed" in told["message"]
    bench.change("alice", egress=["10.20.0.0/16"])
    wait_for("fewer ways out", lambda: "fd00::/8" not in str(policy(bench)))


def policy(bench: Bench) -> Object:
    return bench.kube.get("NetworkPolicy", NAME, bench.namespace)
