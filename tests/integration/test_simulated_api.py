"""The API server of the property tests answers like a real one: the same histories end in equal states."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlpools_operator.cluster.errors import ClusterError, from_answer
from mlpools_operator.cluster.objects import NEVER, Cluster
from mlpools_operator.cluster.transport import Transport
from mlpools_operator.controller import read
from mlpools_operator.domain.plan import Delete
from mlpools_operator.metrics import Metrics
from tests.support.api_server import ApiServer, Clock
from tests.support.bench import Bench
from tests.support.kube import ApiError
from tests.support.manifests import manifest

pytestmark = pytest.mark.integration

HISTORIES = 20
LENGTH = 25
NAMES = ("a", "b")
Json = dict[str, Any]


def policy(namespace: str, name: str, value: int) -> Json:
    spec = {"podSelector": {"matchLabels": {"value": str(value)}}, "policyTypes": ["Ingress"]}
    labels = {"app.kubernetes.io/managed-by": "mlpools", "value": str(value)}
    meta = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def batch_job(namespace: str, name: str) -> Json:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}}
    meta = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "mlpools"}}
    spec = {"suspend": True, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


def training_job(namespace: str, name: str) -> Json:
    job = manifest("TrainingJob", name, {"nodes": 1})
    job["metadata"]["namespace"] = namespace
    return job


class Player:
    """Plays a history on one API server; subclasses know how to ask it.

    Attributes:
        seen: every version of an object that was ever answered, by kind and name.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.seen: dict[tuple[str, str], list[Json]] = {}

    def play(self, action: str, name: str, which: int, value: int) -> str:
        """Do one thing; return its outcome in one word.

        Args:
            action: one of ``ACTIONS``.
            name: of the object.
            which: the version to act on: 0 the newest seen, 1 the one before, …
            value: to write.
        """
        try:
            answer = getattr(self, action)(name, which, value)
        except ClusterError as error:
            return type(error).__name__
        if answer:
            self.seen.setdefault((answer["kind"], name), []).append(answer)
        return "ok"

    def version(self, kind: str, name: str, which: int) -> Json | None:
        """Return a version that was seen, None if there were not so many."""
        versions = self.seen.get((kind, name), [])
        return versions[-1 - which] if which < len(versions) else None


ACTIONS = (
    "apply_new",
    "apply_seen",
    "create_job",
    "delete_policy",
    "delete_job",
    "submit",
    "change_spec",
    "write_status",
)
_NO_UID = "11111111-1111-1111-1111-111111111111"


class Simulated(Player):
    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        self.api = ApiServer(Clock())

    def apply_new(self, name: str, which: int, value: int) -> Json:
        return self.api.apply(policy(self.namespace, name, value))

    def apply_seen(self, name: str, which: int, value: int) -> Json:
        known = self.version("NetworkPolicy", name, which)
        version = known["metadata"]["resourceVersion"] if known else NEVER
        return self.api.apply(policy(self.namespace, name, value), version)

    def create_job(self, name: str, which: int, value: int) -> Json:
        return self.api.create(batch_job(self.namespace, name))

    def delete_policy(self, name: str, which: int, value: int) -> None:
        self._delete("NetworkPolicy", name, which)

    def delete_job(self, name: str, which: int, value: int) -> None:
        self._delete("Job", name, which)

    def submit(self, name: str, which: int, value: int) -> Json:
        return self.api.create(training_job(self.namespace, name))

    def change_spec(self, name: str, which: int, value: int) -> Json:
        spec = {**self.api.get("TrainingJob", self.namespace, name)["spec"], "priority": value}
        return self.api.replace_spec("TrainingJob", self.namespace, name, spec)

    def write_status(self, name: str, which: int, value: int) -> Json:
        known = self.version("TrainingJob", name, which)
        version = known["metadata"]["resourceVersion"] if known else "2"
        status = {"phase": "Queued", "attempt": value, "restarts": 0}
        return self.api.replace_status("TrainingJob", self.namespace, name, status, version)

    def state(self) -> list[Json]:
        return [it for kind in ("Job", "NetworkPolicy", "TrainingJob") for it in self.api.list(kind)]

    def _delete(self, kind: str, name: str, which: int) -> None:
        known = self.version(kind, name, which)
        self.api.delete(kind, self.namespace, name, known["metadata"]["uid"] if known else _NO_UID)


class Real(Player):
    def __init__(self, bench: Bench, cluster: Cluster, wait: Callable[[Any], Any]) -> None:
        super().__init__(bench.namespace)
        self.kube, self.cluster, self.wait = bench.kube, cluster, wait

    def apply_new(self, name: str, which: int, value: int) -> Json:
        made: Json = self.wait(self.cluster.apply(policy(self.namespace, name, value)))
        return made

    def apply_seen(self, name: str, which: int, value: int) -> Json:
        known = self.version("NetworkPolicy", name, which)
        version = known["metadata"]["resourceVersion"] if known else NEVER
        wanted = policy(self.namespace, name, value)
        applied: Json = self.wait(self.cluster.apply(wanted, resource_version=version))
        return applied

    def create_job(self, name: str, which: int, value: int) -> Json:
        made: Json = self.wait(self.cluster.create(batch_job(self.namespace, name)))
        return made

    def delete_policy(self, name: str, which: int, value: int) -> None:
        known = self.version("NetworkPolicy", name, which)
        uid = known["metadata"]["uid"] if known else _NO_UID
        self._delete_as_user("NetworkPolicy", name, uid)

    def delete_job(self, name: str, which: int, value: int) -> None:
        known = self.version("Job", name, which)
        uid = known["metadata"]["uid"] if known else _NO_UID
        self.wait(self.cluster.delete(Delete("Job", self.namespace, name, uid)))

    def submit(self, name: str, which: int, value: int) -> Json:
        return self._as_user(lambda: self.kube.create(training_job(self.namespace, name)))

    def change_spec(self, name: str, which: int, value: int) -> Json:
        change = {"spec": {"priority": value}}
        return self._as_user(lambda: self.kube.patch("TrainingJob", name, change, self.namespace))

    def write_status(self, name: str, which: int, value: int) -> Json:
        known = self.version("TrainingJob", name, which)
        status = {"phase": "Queued", "attempt": value, "restarts": 0}
        nobody = {"metadata": {"name": name, "namespace": self.namespace, "uid": "", "resourceVersion": "2"}}
        meta = read.meta(known or nobody)
        stored: Json = self.wait(self.cluster.replace_status("TrainingJob", meta, status))
        return stored

    def state(self) -> list[Json]:
        kinds = ("Job", "NetworkPolicy", "TrainingJob")
        return [{"kind": kind, **it} for kind in kinds for it in self.kube.list(kind, self.namespace)]

    def _delete_as_user(self, kind: str, name: str, uid: str) -> None:
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        path = f"/apis/networking.k8s.io/v1/namespaces/{self.namespace}/networkpolicies/{name}"
        self._as_user(lambda: self.kube.request("DELETE", path, options))

    def _as_user(self, ask: Callable[[], Json]) -> Json:
        try:
            return ask()
        except ApiError as error:
            body = f'{{"reason": "{error.reason}", "message": "x"}}'.encode()
            raise from_answer(error.code, body) from error


@pytest.fixture
def real(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    monkeypatch.setenv("KUBECONFIG", str(bench.kubeconfig))
    with asyncio.Runner() as runner:
        transport = Transport(Metrics(), threads=1)
        yield Real(bench, Cluster(transport), runner.run)
        transport.close()


def test_histories_end_alike(real: Real) -> None:
    for seed in range(HISTORIES):
        dice = random.Random(seed)
        names = [f"{name}{seed}" for name in NAMES]
        simulated, real.seen = Simulated(real.namespace), {}
        steps = [
            (dice.choice(ACTIONS), dice.choice(names), dice.choice((0, 0, 0, 1, 3)), dice.randint(1, 9))
            for _ in range(LENGTH)
        ]
        told: list[tuple[Any, ...]] = []
        for step in steps:
            outcomes = (simulated.play(*step), real.play(*step))
            told.append((*step, *outcomes))
            assert outcomes[0] == outcomes[1], f"History {seed}: {told}"
        mine = [it for it in real.state() if it["metadata"]["name"] in names]
        assert _plain(mine) == _plain(simulated.state()), f"History {seed}: {told}"


def _plain(items: list[Json]) -> list[Json]:
    """Return what both servers have in common: not times, identities and defaults."""
    plain = []
    for item in items:
        meta, kind = item["metadata"], item["kind"]
        known: Json = {"kind": kind, "name": meta["name"], "labels": meta.get("labels", {})}
        known["deleting"] = "deletionTimestamp" in meta
        if kind == "NetworkPolicy":
            known |= {"spec": item["spec"], "generation": meta["generation"]}
        elif kind == "TrainingJob":
            known |= {"generation": meta["generation"], "priority": item["spec"].get("priority", 0)}
            known["attempt"] = item.get("status", {}).get("attempt", 0)
        plain.append(known)
    return sorted(plain, key=lambda known: (known["kind"], known["name"]))


def test_the_histories_reach_every_outcome() -> None:
    """A comparison of nothing but errors, or of nothing but successes, would prove little."""
    seen: set[tuple[str, str]] = set()
    for seed in range(HISTORIES):
        dice, player = random.Random(seed), Simulated("x")
        for _ in range(LENGTH):
            action = dice.choice(ACTIONS)
            name = dice.choice(NAMES)
            seen.add((action, player.play(action, name, dice.choice((0, 0, 0, 1, 3)), dice.randint(1, 9))))
    assert {action for action, outcome in seen if outcome == "ok"} == set(ACTIONS)
    for expected in (
        ("apply_new", "Conflict"),
        ("apply_seen", "Conflict"),
        ("create_job", "AlreadyExists"),
        ("submit", "AlreadyExists"),
        ("delete_policy", "NotFound"),
        ("delete_job", "NotFound"),
        ("write_status", "Conflict"),
        ("write_status", "NotFound"),
        ("change_spec", "NotFound"),
    ):
        assert expected in seen
