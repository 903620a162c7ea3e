"""Secrets and ConfigMaps that a job mounts: none keeps its pod from starting, and each is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import TrainingJobSpec, parse
from mlpools_operator.domain.pods import mounted
from tests.support.manifests import spec

DATA = {"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}
AT_DATA = {"name": "data", "mountPath": "/data"}
ITEMS = [{"key": "ca", "path": "certs/ca.crt"}]

KEYED = {"name": "a", "items": ITEMS}


def with_volume(source: dict[str, Any], **mount: Any) -> TrainingJobSpec:
    volumes = [DATA, {"name": "x", **source}]
    mounts = [AT_DATA, {"name": "x", "mountPath": "/x", **mount}]
    parsed = parse("TrainingJob", spec("TrainingJob", {"volumes": volumes, "volumeMounts": mounts}))
    assert isinstance(parsed, TrainingJobSpec)
    return parsed


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ({"secret": {"secretName": "tls"}}, [("Secret", "tls", [])]),
        ({"secret": {"secretName": "tls", "items": ITEMS}}, [("Secret", "tls", ["certs/ca.crt"])]),
        ({"secret": {"secretName": "tls", "optional": True}}, []),
        ({"configMap": {"name": "c"}}, [("ConfigMap", "c", [])]),
        ({"emptyDir": {}}, []),
        ({"projected": {"sources": [{"secret": {"name": "tls"}}]}}, [("Secret", "tls", [])]),
        (
            {
                "projected": {
                    "sources": [{"secret": {"name": "a", "items": ITEMS}}, {"configMap": {"name": "b"}}]
                }
            },
            [("Secret", "a", ["certs/ca.crt"])],
        ),
    ],
)
def test_what_has_to_be_there(source: dict[str, Any], wanted: list[tuple[str, str, list[str]]]) -> None:
    job = with_volume(source)
    expected = [{"kind": k, "name": n, "path": "/x", "files": f} for k, n, f in wanted]
    assert mounted.required(job) == expected
    assert mounted.volumes(job)[0] == DATA
    text = str(mounted.volumes(job)[1])
    kinds = text.count("'secret'") + text.count("'configMap'")
    assert text.count("'optional': True") == kinds


def test_of_a_part_of_a_volume_only_the_part_is_looked_at() -> None:
    job = with_volume({"secret": {"secretName": "tls", "items": ITEMS}}, subPath="certs/ca.crt")
    assert mounted.required(job) == [{"kind": "Secret", "name": "tls", "path": "/x", "files": []}]
