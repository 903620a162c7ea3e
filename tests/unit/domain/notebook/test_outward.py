"""Where a notebook may connect to: what is opened follows addresses, and what is not is said."""

from __future__ import annotations

from mlpools_operator.domain.notebook import outward
from mlpools_operator.domain.pods.egress import Answer, Known
from tests.support.api_server import Json, condition
from tests.support.domain_run import NAMESPACE, Run

KIND = "NotebookRuntime"
HOST = "files.example.com"


def learn(run: Run, *addresses: str, trouble: str = "") -> None:
    """Let DNS say something of the host."""
    run.operator.known = Known({HOST: Answer(addresses, trouble)})


def policy(run: Run) -> Json:
    return run.world.get("NetworkPolicy", NAMESPACE, "nb-alice")["spec"]


def blocks(run: Run) -> list[str]:
    peers = [peer for rule in policy(run)["egress"] for peer in rule["to"]]
    return [peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer]


def told(run: Run) -> Json:
    return condition({"status": run.status("alice")}, "EgressIncomplete")


def started(**pool: object) -> Run:
    run = Run(**pool)  # type: ignore[arg-type]
    learn(run, "192.0.2.1")
    run.submit("alice", KIND, egress=[f"{HOST}:443"])
    run.until("alice", "Running")
    return run


def test_it_follows_addresses_while_the_notebook_runs() -> None:
    run = started()
    assert policy(run)["policyTypes"] == ["Ingress", "Egress"]
    assert blocks(run) == ["192.0.2.1/32"]
    (pod,) = run.pods("alice")
    learn(run, "192.0.2.1", "192.0.2.2")
    run.go(2)
    assert blocks(run) == ["192.0.2.1/32", "192.0.2.2/32"]
    run.change("alice", egress=["192.0.2.0/24"])
    run.go(2)
    assert blocks(run) == ["192.0.2.0/24"]
    assert run.pods("alice")[0]["metadata"]["uid"] == pod["metadata"]["uid"]
    assert not told(run)


def test_what_has_no_address_is_closed_and_said() -> None:
    run = started()
    learn(run, trouble="DNS does not answer.")
    run.go(2)
    assert blocks(run) == []
    assert told(run)["reason"] == "NotResolved"
    assert f"{HOST}:443 stays closed" in told(run)["message"]
    learn(run, "192.0.2.3")
    run.go(2)
    assert blocks(run) == ["192.0.2.3/32"]
    assert not told(run)


def test_a_pool_that_isolates_nobody_is_said_and_a_list_that_nobody_wrote_is_not() -> None:
    run = started(network={"isolation": False})
    assert run.world.list("NetworkPolicy") == []
    assert told(run)["reason"] == "NotIsolated"
    run.change("alice", egress=[])
    run.go(2)
    assert not told(run)


def test_names_are_looked_up_for_who_has_a_node_only() -> None:
    run = started()
    run.submit("bob", KIND, egress=["b.example.com:1", "10.0.0.1:22", "10.0.0.0/8"], suspend=True)
    run.go(2)
    pool = run.operator.store.resource(run.operator.keys("ComputePool")[0])

    def names(name: str) -> set[str]:
        key = next(key for key in run.operator.keys(KIND) if key.name == name)
        notebook = run.operator.store.resource(key)
        assert notebook is not None
        return set(outward.names(notebook, pool, run.clock(), run.operator.defaults))

    assert names("bob") == set()
    run.change("bob", suspend=False)
    run.until("bob", "Running")
    assert names("bob") == {"b.example.com", "pypi.org", "files.pythonhosted.org"}
    run.change("bob", git={"url": "https://git.example.com/team/work.git", "revision": "main"})
    run.go(1)
    assert "git.example.com" in names("bob")
