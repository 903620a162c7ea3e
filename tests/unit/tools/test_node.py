"""Whether a node has reported since its kubelet started: its earlier life does not count."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tools.cluster.controlplane import ControlPlane
from tools.cluster.node import Node
from tools.cluster.node_files import NodeFiles
from tools.cluster.processes import Processes

STARTED = datetime(2026, 1, 1, 12, 0, 30, 500_000, tzinfo=UTC).timestamp()
OLD, SAME_SECOND, NEW = "2026-01-01T12:00:10", "2026-01-01T12:00:30", "2026-01-01T12:00:31"


def node(status: str, heartbeat: str, lease: str) -> Node:
    """A node of which the API server remembers this."""
    condition = {"type": "Ready", "status": status, "lastHeartbeatTime": f"{heartbeat}Z", "message": "no CNI"}
    remembered: dict[str, Any] = {
        "/api/v1/nodes/node1": {"status": {"conditions": [condition]}},
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node1": {
            "spec": {"renewTime": f"{lease}.000000Z"}
        },
    }
    control = SimpleNamespace(api=SimpleNamespace(object=remembered.__getitem__))
    files = NodeFiles("dev", 1, Path("/state"))
    return Node(files, 2, Processes(files.state), cast(ControlPlane, control))


@pytest.mark.parametrize(
    ("status", "heartbeat", "lease", "reason"),
    [
        ("True", OLD, OLD, "node1 has not reported"),
        ("True", OLD, NEW, None),  # it came back: the lease is its first word
        ("True", SAME_SECOND, OLD, None),  # it is new: the condition is; times are whole seconds
        ("False", NEW, NEW, "no CNI"),
        ("Unknown", OLD, NEW, "no CNI"),
    ],
)
def test_a_node_is_ready_when_this_kubelet_says_so(
    status: str, heartbeat: str, lease: str, reason: str | None
) -> None:
    assert node(status, heartbeat, lease)._unreported(since=STARTED) == reason
