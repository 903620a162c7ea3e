"""What a notebook's pod is told and given for packages and a repository."""

from __future__ import annotations

from typing import Any

from mlpools.contract.tasks import Code, Notebook, Packages
from mlpools.contract.wiring import NOTEBOOK_ENV
from tests.support.api_server import Json
from tests.support.domain_run import Run


def started(pool: Json, **fields: Any) -> tuple[Notebook, Json, dict[str, Json]]:
    """Return what the supervisor is told, the pod's spec, and the volumes by the path where they appear."""
    run = Run(max_nodes=1, **pool)
    run.submit("alice", "NotebookRuntime", **fields)
    run.until("alice", "Running")
    spec = run.pods("alice")[0]["spec"]
    (main,) = spec["containers"]
    by_name = {volume["name"]: volume for volume in spec["volumes"]}
    told = next(it["value"] for it in main["env"] if it["name"] == NOTEBOOK_ENV)
    return (
        Notebook.from_json(told.replace("$$", "$")),
        spec,
        {mount["mountPath"]: by_name[mount["name"]] for mount in main["volumeMounts"]},
    )


def test_the_pools_rules_are_there_though_the_spec_installs_nothing() -> None:
    rules = {"indexURL": "https://pypi.test/simple", "credentialsSecret": "login", "block": ["torch"]}
    told, _, mounts = started({"packages": rules})
    packages = Packages.from_dict(told.packages)
    assert (list(packages.wanted), packages.index_url, list(packages.block)) == (
        [],
        rules["indexURL"],
        ["torch"],
    )
    (source,) = mounts["/etc/mlpools/packages"]["projected"]["sources"]
    assert (source["secret"]["name"], source["secret"]["optional"]) == ("login", True)


def test_a_repository_and_its_secret() -> None:
    git = {"url": "https://git.test/work", "revision": "main", "secret": "deploy"}
    told, spec, mounts = started({}, git=git, command=["serve"], runtime={"image": "mine:1"})
    assert Code.from_dict(told.git) == Code(git_url=git["url"], revision="main", secret="deploy")
    assert mounts["/etc/mlpools/code"]["secret"] == {"secretName": "deploy", "optional": True}
    assert [it["name"] for it in told.required] == ["deploy"]
    assert {"--git", "--uv"} <= set(spec["initContainers"][0]["command"])


def test_without_them_nothing_is_mounted() -> None:
    told, _, mounts = started({})
    assert told.git == {}
    assert {"/etc/mlpools/packages", "/etc/mlpools/code"}.isdisjoint(mounts)
