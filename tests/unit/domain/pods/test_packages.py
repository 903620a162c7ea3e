"""What a pool says about packages, and what a job's pods are given for installing them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlpools.contract.tasks import Packages, Task
from mlpools_operator.domain import reasons
from mlpools_operator.domain.pool.ledger import Brings, Surroundings, Verdict
from mlpools_operator.domain.queue import admission
from tests.support.built import build, main, pod, variables
from tests.support.domain_values import NOW, a_candidate, a_pool

PRIVATE = {
    "packages": {
        "indexURL": "https://pypi.test/simple",
        "credentialsSecret": "login",
        "caSecret": "authority",
        "block": ["torch*"],
    }
}


def verdict(*packages: str, **rules: Any) -> Verdict:
    candidate = a_candidate("flights", brings=Brings(packages=packages))
    return admission.decide(a_pool(packages=rules), [candidate], Surroundings(), NOW).verdicts[candidate.uid]


def test_a_package_that_is_not_taken_is_told_before_the_job_queues() -> None:
    assert verdict("polars==1.2").admit
    assert verdict("polars==1.2", allow=["pol*"], block=["pandas"]).admit
    blocked = verdict("fine==1.0", "Torch_Vision[a]==0.2", block=["torch-*"])
    assert (blocked.admit, blocked.reason) == (False, "PackageNotAllowed")
    assert "does not take the package torch-vision: its packages.block has torch-*" in blocked.message
    assert "packages.allow does not have it" in verdict("polars==1.2", allow=[]).message


def task(built: dict[str, Any]) -> Task:
    return Task.from_json(variables(built)["MLPOOLS_TASK"])


def test_pods_of_a_job_without_packages_know_nothing_of_them() -> None:
    built = build(pool=PRIVATE)
    assert task(built).packages == {}
    assert "login" not in json.dumps(built)


def test_pods_are_told_what_to_install_and_given_the_files_for_it() -> None:
    runtime = {"packages": ["polars==1.2"], "requirements": {"name": "reqs", "key": "mine.txt"}}
    built = build({"runtime": runtime}, PRIVATE)
    packages = Packages.from_dict(task(built).packages)
    assert list(packages.wanted) == ["polars==1.2"]
    assert packages.requirements == "key mine.txt of ConfigMap reqs"
    assert packages.index_url == "https://pypi.test/simple"
    assert (list(packages.allow), list(packages.block)) == (["*"], ["torch*"])
    [volume] = [it for it in pod(built)["volumes"] if it["name"] == "mlpools-packages"]
    files = {
        (name, source[kind]["name"], item["key"], item["path"])
        for source in volume["projected"]["sources"]
        for kind, name in (("secret", "secret"), ("configMap", "configMap"))
        if kind in source
        for item in source[kind]["items"]
    }
    assert files == {
        ("secret", "login", "username", "username"),
        ("secret", "login", "password", "password"),
        ("secret", "authority", "ca.crt", "ca.crt"),
        ("configMap", "reqs", "mine.txt", "requirements.txt"),
    }
    sources = [next(iter(source.values())) for source in volume["projected"]["sources"]]
    assert all(source["optional"] for source in sources), "the kubelet would wait, and say nothing"
    [mount] = [it for it in main(built)["volumeMounts"] if it["name"] == "mlpools-packages"]
    assert mount == {"name": "mlpools-packages", "mountPath": "/etc/mlpools/packages", "readOnly": True}


def test_an_open_index_needs_no_files() -> None:
    built = build({"runtime": {"packages": ["polars==1.2"]}})
    assert "mlpools-packages" not in json.dumps(built)
    assert task(built).packages["wanted"] == ["polars==1.2"]


@pytest.mark.parametrize(
    ("reason", "rule"),
    [
        ("PackageNotAllowed", reasons.Retry.NEVER),
        ("PackagesNotResolved", reasons.Retry.NEVER),
        ("PackageIndexUnavailable", reasons.Retry.COUNTED),
    ],
)
def test_what_a_new_attempt_can_cure(reason: str, rule: reasons.Retry) -> None:
    assert reasons.rule(reason) is rule


@pytest.mark.parametrize("volume", [None, {"hostPath": {"path": "/var/cache/mlpools"}}])
def test_wheels_are_kept_where_the_cache_outlives_a_pod(volume: dict[str, Any] | None) -> None:
    cache = {"cache": {"size": "1Gi", "volume": volume}} if volume else {}
    built = build({"runtime": {"packages": ["cat==1.0"]}}, pool=cache)
    assert Packages.from_dict(task(built).packages).cached == bool(volume)
