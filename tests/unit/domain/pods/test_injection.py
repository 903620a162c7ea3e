"""Pods that run an image of the job's own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.built import build, main, pod
from tests.support.manifests import ABSENT
from tests.support.operator_sim import DEFAULTS

OWN = {"runtime.image": "python:3.12-slim"}


def script(**fields: Any) -> dict[str, Any]:
    return {"xgboost": ABSENT, "data": ABSENT, "script": {"command": ["./train", "$HOME"], **fields}}


def built(changes: dict[str, Any], pool: dict[str, Any] | None = None) -> dict[str, Any]:
    return build(changes, pool)


def test_a_job_in_our_image_needs_nothing() -> None:
    for changes in ({}, script(), {"runtime.image": DEFAULTS.runtime_image}):
        made = built(changes)
        assert "initContainers" not in pod(made)
        assert main(made)["command"] == ["python", "-m", "mlpools.supervisor"]
        assert not [it for it in pod(made)["volumes"] if it["name"] == "mlpools-injected"]
    pool = {"runtime": {"image": "registry.test/ml:1"}}
    assert "initContainers" not in pod(built({"runtime.image": "registry.test/ml:1"}, pool))


def test_mlpools_is_put_beside_an_image_of_the_jobs_own() -> None:
    made = built({**script(args=["--fast"]), **OWN}, {"runtime": {"image": "registry.test/ml:1"}})
    [first] = pod(made)["initContainers"]
    assert first["image"] == "registry.test/ml:1"
    assert first["command"] == ["python", "-m", "mlpools.runtime.inject", "/mlpools"]
    assert first["resources"] == main(made)["resources"], "no more than the pod has anyway"
    assert first["securityContext"]["readOnlyRootFilesystem"]
    assert first["terminationMessagePolicy"] == "FallbackToLogsOnError", "or nobody hears why it failed"
    assert [it["mountPath"] for it in first["volumeMounts"]] == ["/mlpools"]
    assert main(made)["image"] == "python:3.12-slim"
    head, (nodes, coordinator), bare = (
        main(made)["command"][at] for at in (slice(2), slice(2, 4), slice(4, 9))
    )
    assert head == ["sh", "/mlpools/start"]
    assert (nodes, coordinator.count(".")) == ("1", 5)
    assert bare == ["./train", "$$HOME", "--fast"], "Kubernetes would expand what it takes for a variable"
    [mount] = [it for it in main(made)["volumeMounts"] if it["mountPath"] == "/mlpools"]
    assert mount["readOnly"]


@pytest.mark.parametrize(
    "fields",
    [
        {"command": ABSENT, "file": "train.py"},
        {"launcher": "torchrun"},
        {"launcher": "ray"},
        {"code": {"configMap": "mine"}},
    ],
)
def test_what_takes_python_does_not_run_without(fields: dict[str, Any]) -> None:
    section = {name: value for name, value in script(**fields)["script"].items() if value is not ABSENT}
    assert len(main(built({**script(), "script": section, **OWN}))["command"]) == 4


def test_git_is_brought_along_where_the_code_is_in_a_repository() -> None:
    code = {"git": {"url": "https://git.test/team/code", "revision": "main"}}
    [first] = pod(built({**script(code=code), **OWN}))["initContainers"]
    assert first["command"][-1] == "--git"


def test_the_installer_is_brought_along_where_the_job_has_packages() -> None:
    [first] = pod(built({**script(), **OWN, "runtime.packages": ["polars==1.2"]}))["initContainers"]
    assert first["command"][-1] == "--uv"
