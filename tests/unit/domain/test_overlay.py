from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlpools_operator.domain import overlay

POD: dict[str, Any] = {
    "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}],
    "containers": [
        {
            "name": "main",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "envFrom": [{"secretRef": {"name": "s3"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "securityContext": {"capabilities": {"drop": ["ALL"]}},
        }
    ],
    "volumes": [{"name": "data", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}],
}


@pytest.mark.parametrize(
    ("patch", "path", "result"),
    [
        ({"securityContext": {"fsGroup": 5}}, "securityContext", {"runAsUser": 1000, "fsGroup": 5}),
        ({"securityContext": {"runAsUser": None}}, "securityContext", {"fsGroup": 1000}),
        ({"dnsConfig": {"options": [], "searches": None}}, "dnsConfig", {"options": []}),
        (
            {
                "volumes": [
                    {"name": "scratch", "hostPath": {"path": "/nvme"}},
                    {"name": "certs", "secret": {}},
                ]
            },
            "volumes",
            [
                {"name": "data", "emptyDir": {}},
                {"name": "scratch", "hostPath": {"path": "/nvme"}},
                {"name": "certs", "secret": {}},
            ],
        ),
        (
            {
                "tolerations": [
                    {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
                ]
            },
            "tolerations",
            [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        ),
        ({"initContainers": [{"name": "x", "image": "y"}]}, "initContainers", [{"name": "x", "image": "y"}]),
        (
            {"tolerations": [{"key": "b", "operator": "Exists"}]},
            "tolerations",
            [*POD["tolerations"], {"key": "b", "operator": "Exists"}],
        ),
        ({"volumes": "nonsense"}, "volumes", "nonsense"),
        ({"volumes": ["nonsense"]}, "volumes", ["nonsense"]),
    ],
)
def test_merging_of_a_pod(patch: dict[str, Any], path: str, result: Any) -> None:
    before = deepcopy(POD)
    assert overlay.merge(POD, patch) == {**POD, path: result}
    assert before == POD


def test_the_container_of_the_job_keeps_what_the_overlay_does_not_name() -> None:
    patch = {
        "containers": [
            {
                "name": "main",
                "env": [{"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "envFrom": [{"configMapRef": {"name": "proxy"}}],
                "volumeMounts": [{"name": "certs", "mountPath": "/etc/ssl"}],
                "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
            }
        ]
    }
    (main,) = overlay.merge(POD, patch)["containers"]
    assert main == {
        "name": "main",
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "envFrom": [{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": "proxy"}}],
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "certs", "mountPath": "/etc/ssl"},
        ],
        "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]}},
    }


_FIELDS = st.sampled_from(
    ["containers", "env", "volumes", "tolerations", "envFrom", "name", "key", "value", "securityContext"]
)
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["main", "A", "B", "data"]))
JSON = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_FIELDS, inner, max_size=4)),
    max_leaves=20,
)
OBJECTS = st.dictionaries(_FIELDS, JSON, max_size=5)


@given(OBJECTS)
@example({"containers": [{"name": {"containers": None}}]})
def test_merging_once_more_changes_nothing(patch: dict[str, Any]) -> None:
    once = overlay.merge(POD, patch)
    assert overlay.merge(once, patch) == once


@given(OBJECTS)
def test_what_the_overlay_does_not_name_stays(patch: dict[str, Any]) -> None:
    merged = overlay.merge(POD, patch)
    assert {field: merged[field] for field in POD if field not in patch} == {
        field: POD[field] for field in POD if field not in patch
    }
    if isinstance(patch.get("volumes"), list) and all(isinstance(it, dict) for it in patch["volumes"]):
        replaced = [it.get("name") for it in patch["volumes"]]
        assert all(it in merged["volumes"] for it in POD["volumes"] if it["name"] not in replaced)
