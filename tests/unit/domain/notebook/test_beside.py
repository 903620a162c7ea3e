"""The pod of a notebook whose image starts a program that nobody here knows."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import NOTEBOOK_ENV, STATUS_PORT
from mlpools_operator.api.v1alpha1 import NotebookRuntimeSpec, amount, parse
from mlpools_operator.domain.notebook import beside, pod
from mlpools_operator.domain.observed import Meta, Resource
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pool import families
from tests.support.manifests import spec
from tests.support.operator_sim import DEFAULTS

NOTEBOOK = Resource(Meta("alice", "uid", "team-a"), {})
OWN = {"runtime": {"image": "registry/ml/rstudio:1"}}
SECRET = {
    "env": [{"name": "PASSWORD", "value": "sesame"}],
    "envFrom": [{"secretRef": {"name": "database"}}],
    "volumes": [{"name": "keys", "secret": {"secretName": "keys"}}],
    "volumeMounts": [{"name": "keys", "mountPath": "/keys"}],
}


def built(fields: dict[str, Any], **pool: Any) -> Object:
    """The pod's spec of a notebook with those fields, on a pool with those."""
    of_pool = families.read(spec("ComputePool", pool), DEFAULTS.families)
    notebook: NotebookRuntimeSpec = parse("NotebookRuntime", spec("NotebookRuntime", fields))
    family = families.find(of_pool, "", DEFAULTS.families)
    made = pod.template(NOTEBOOK, notebook, of_pool, family, 1, "nb-alice-token", {}, DEFAULTS)
    template: Object = made["spec"]
    return template


def sidecar(made: Object) -> Object:
    (found,) = [it for it in made["initContainers"] if it["name"] == beside.NAME]
    return dict(found)


def told(container: Object) -> Notebook:
    (value,) = [it["value"] for it in container["env"] if it["name"] == NOTEBOOK_ENV]
    return Notebook.from_json(value.replace("$$", "$"))


def test_a_sidecar_watches_what_the_image_starts() -> None:
    made = built({**OWN, "args": ["--port", "8888"]})
    (main,) = made["containers"]
    watch = sidecar(made)
    assert made["shareProcessNamespace"]
    assert watch["restartPolicy"] == "Always"
    assert watch["image"] == DEFAULTS.runtime_image
    assert "command" not in main
    assert main["args"] == ["--port", "8888"]
    assert [port["containerPort"] for port in main["ports"]] == [8888]
    assert [port["containerPort"] for port in watch["ports"]] == [STATUS_PORT]
    assert told(watch).beside


@pytest.mark.parametrize("fields", [{}, {**OWN, "command": ["serve"]}], ids=["ours", "command"])
def test_what_the_supervisor_starts_needs_none(fields: dict[str, Any]) -> None:
    made = built(fields)
    assert "shareProcessNamespace" not in made
    assert beside.NAME not in [it["name"] for it in made.get("initContainers", ())]
    assert not told(made["containers"][0]).beside


def test_the_sidecar_holds_no_credential() -> None:
    watch = sidecar(built({**OWN, **SECRET, "serviceAccountName": "reader"}))
    assert {it["name"] for it in watch["env"]} == {"PYTHONUNBUFFERED", NOTEBOOK_ENV}
    assert "envFrom" not in watch
    assert {it["mountPath"] for it in watch["volumeMounts"]} == {
        "/workspace",
        "/var/run/secrets/kubernetes.io/serviceaccount",  # an empty folder lies over the token
    }
    made = built({**OWN, **SECRET})
    volumes = {it["name"]: it for it in made["volumes"]}
    assert [volumes[it["name"]] for it in watch["volumeMounts"]][1] == {
        "name": "mlpools-nothing",
        "emptyDir": {},
    }
    assert "sesame" not in str(watch)


def test_a_secret_that_is_absent_keeps_the_program_from_starting_without_it() -> None:
    made = built({**OWN, **SECRET})
    (keys,) = [it for it in made["volumes"] if it["name"] == "keys"]
    assert "optional" not in keys["secret"]


@pytest.mark.parametrize("cpu", ["2", "150m", "100m"])
def test_both_fit_the_node_and_the_program_keeps_its_gpus(cpu: str) -> None:
    instance = {"cpu": cpu, "memory": "4Gi", "gpus": 2}
    made = built(OWN, instance=instance)
    (main,), watch = made["containers"], sidecar(made)
    assert main["resources"]["limits"] == main["resources"]["requests"]
    assert main["resources"]["limits"]["nvidia.com/gpu"] == "2"
    both = [it["resources"]["requests"] for it in (main, watch)]
    assert sum(amount(it["memory"]) for it in both) == amount("4Gi")
    assert sum(amount(it["cpu"]) for it in both) <= max(amount(cpu), amount("110m"))
    assert told(watch).gpus == 2


def test_packages_are_never_left_out_in_silence() -> None:
    fields = {"runtime": {"image": "registry/ml/own:1", "packages": ["polars==1.2"]}, "command": ["serve"]}
    (main,) = built(fields)["containers"]
    # Without Python in the image nothing runs bare, so it says that it needs one.
    assert main["command"][-2:] == ["1", ""]
    (main,) = built({**OWN, "command": ["serve"]})["containers"]
    assert main["command"][-1] == "serve"
