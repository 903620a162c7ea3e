"""The host of a notebook: one each under the operator's domain, and words where there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain import naming
from tests.support.api_server import Json, condition
from tests.support.domain_run import NAMESPACE, Run

KIND = "NotebookRuntime"
_LABEL = st.from_regex(r"[a-z]([-a-z]{0,20}[a-z])?", fullmatch=True)


def with_domain(domain: str = "notebooks.example.com", **annotations: str) -> Run:
    run = Run()
    serve(run, domain, **annotations)
    return run


def serve(run: Run, domain: str, **annotations: str) -> None:
    """Let the operator have another domain, as one has that was started anew."""
    defaults = run.operator.defaults
    run.operator.defaults = replace(defaults, notebooks_domain=domain, ingress_annotations=annotations)
    run.operator.restart()


def entry(run: Run) -> Json:
    return run.world.get("Ingress", NAMESPACE, "nb-alice")


def start(run: Run, **ingress: Any) -> Json:
    run.submit("alice", KIND, access={"ingress": ingress})
    return run.until("alice", "Running")


def test_browsers_reach_it_at_a_host_of_its_own() -> None:
    run = with_domain(issuer="wildcard")
    status = start(run, className="nginx", tls={"secretName": "wildcard"})
    made = entry(run)
    (rule,), (tls,) = made["spec"]["rules"], made["spec"]["tls"]
    assert made["spec"]["ingressClassName"] == "nginx"
    assert made["metadata"]["annotations"]["issuer"] == "wildcard"
    assert tls == {"hosts": [rule["host"]], "secretName": "wildcard"}
    assert rule["host"].startswith("alice-team-a-")
    assert rule["host"].endswith(".notebooks.example.com")
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    service = run.world.get("Service", NAMESPACE, path["backend"]["service"]["name"])
    assert path["backend"]["service"]["port"]["name"] in [it["name"] for it in service["spec"]["ports"]]
    assert status["url"] == f"https://{rule['host']}/"


def test_without_a_certificate_of_its_own_it_has_the_domains_and_without_tls_none() -> None:
    run = with_domain()
    assert start(run, tls={})["url"].startswith("https://")
    assert entry(run)["spec"]["tls"] == [{"hosts": [entry(run)["spec"]["rules"][0]["host"]]}]
    run.change("alice", access={"ingress": {}})
    run.go(2)
    assert run.status("alice")["url"].startswith("http://alice-team-a-")
    assert "tls" not in entry(run)["spec"]
    assert "ingressClassName" not in entry(run)["spec"]


def test_the_host_comes_and_goes_while_it_runs() -> None:
    run = with_domain()
    run.submit("alice", KIND)
    inside = run.until("alice", "Running")["url"]
    (pod,) = run.pods("alice")
    run.change("alice", access={"ingress": {}})
    run.go(2)
    assert entry(run)
    run.change("alice", access={})
    run.go(2)
    assert run.world.list("Ingress") == []
    assert run.status("alice")["url"] == inside == "http://nb-alice.team-a.svc.cluster.local:8888/"
    assert run.pods("alice")[0]["metadata"]["uid"] == pod["metadata"]["uid"]
    assert not condition({"status": run.status("alice")}, "Outdated")


def test_without_a_domain_it_is_refused_in_words_and_holds_no_node() -> None:
    run = with_domain("")
    run.submit("alice", KIND, access={"ingress": {}})
    run.go(5)
    status = run.status("alice")
    assert (status["phase"], status["reason"]) == ("Failed", "NoDomain")
    assert "notebooks.domain" in condition({"status": status}, "Stalled")["message"]
    assert run.world.get("ComputePool", "", "cpu")["status"]["nodes"]["active"] == 0
    assert [event.reason for _, event in run.operator.events] == ["NoDomain"]
    serve(run, "notebooks.example.com")
    assert run.until("alice", "Running")["url"].startswith("http://alice-team-a-")


def test_what_runs_goes_on_without_a_domain_and_says_so() -> None:
    run = with_domain("")
    run.submit("alice", KIND)
    run.until("alice", "Running")
    run.change("alice", access={"ingress": {}})
    run.go(3)
    status = run.status("alice")
    assert status["phase"] == "Running"
    assert "notebooks.domain" in condition({"status": status}, "Ready")["message"]
    assert run.world.list("Ingress") == []


@given(one=st.tuples(_LABEL, _LABEL), other=st.tuples(_LABEL, _LABEL))
def test_no_two_notebooks_share_a_host(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (naming.host_label(*one) == naming.host_label(*other)) == (one == other)
    assert naming.host_label("a", "b-c") != naming.host_label("c-a", "b")


@given(st.text("abc-.", min_size=1, max_size=253), st.text("abc-", min_size=1, max_size=63))
def test_a_host_is_one_dns_label(name: str, namespace: str) -> None:
    label = naming.host_label(f"n{namespace}", f"x{name}")
    assert len(label) <= 63
    assert "." not in label
    assert label[0].isalnum()
    assert label[-1].isalnum()
