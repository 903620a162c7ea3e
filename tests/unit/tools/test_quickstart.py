"""A cluster of the user's own: images come from where the user says, volumes from a class that it has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tools import images
from tools.kubectl import Kubectl
from tools.quickstart import data
from tools.quickstart.__main__ import existing_cluster
from tools.steps import ToolError


def test_no_registry_is_guessed() -> None:
    with pytest.raises(ToolError, match=r"make run CONTEXT=kind-a REGISTRY=\S+"):
        existing_cluster("kind-a", "")


def test_images_have_the_names_that_the_readme_pushes() -> None:
    _, references = existing_cluster("kind-a", "registry.example.com/ml")
    assert references == {
        target: f"registry.example.com/ml/mlpools-{target}:{images.version()}"
        for target in ("operator", "runtime", "runtime-full")
    }


Objects = list[dict[str, Any]]


class Cluster(Kubectl):
    """One that has storage classes and keeps what is applied."""

    def __init__(self, *classes: str) -> None:
        super().__init__()
        named = [{"metadata": {"name": name}} for name in classes]
        self.__dict__["objects"] = {"storageclass": named, "persistentvolumeclaim": []}

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        return next((item for item in self.list(kind) if item["metadata"]["name"] == name), None)

    def list(self, kind: str, *, selector: str = "", namespace: str = "default") -> Objects:
        found: Objects = self.__dict__["objects"][kind]
        return found

    def apply(self, manifest: str, *, namespace: str = "default") -> str:
        document = json.loads(manifest)
        self.list(document["kind"].lower()).append(document)
        return ""

    @property
    def claims(self) -> Sequence[tuple[str, str, Any]]:
        items = self.list("persistentvolumeclaim")
        specs = [(item["metadata"]["name"], item["spec"]) for item in items]
        return [(name, spec["storageClassName"], spec["accessModes"]) for name, spec in specs]


@pytest.mark.parametrize("name", ["shared", "efs"])
def test_the_claim_is_of_the_class_that_is_said(name: str) -> None:
    cluster = Cluster("ebs", "efs", "shared")
    data.make_claim(cluster, name)
    assert cluster.claims == [("flights", name, ["ReadWriteMany"])]


@pytest.mark.parametrize(
    ("classes", "words"),
    [(("gp3", "efs"), "there are efs, gp3"), ((), "there is none")],
)
def test_a_class_that_is_not_there_is_said_at_once(classes: tuple[str, ...], words: str) -> None:
    cluster = Cluster(*classes)
    with pytest.raises(ToolError, match=rf"no StorageClass shared: .*STORAGE_CLASS=name.*; {words}\.$"):
        data.make_claim(cluster)
    assert cluster.claims == []


def test_a_claim_that_is_there_stays_as_it_is() -> None:
    cluster = Cluster("efs")
    data.make_claim(cluster, "efs")
    data.make_claim(cluster)
    assert cluster.claims == [("flights", "efs", ["ReadWriteMany"])]
