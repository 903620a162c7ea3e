"""A NetworkPolicy engine for one moment: the policies and pods there are now, as firewall rules of each node.

The local cluster stores policies and enforces none. Its pods are routed, so whatever reaches a pod has passed
its node's forward hook; only what the node itself sends (the kubelet's probes) has not, and that is always
let in. Known are ingress, `matchLabels`, pod and namespace selectors, and ports; anything else is an error,
since an engine that overlooks a rule proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tools.cluster.instance import Instance
from tools.kubectl import Kubectl

Object = dict[str, Any]

TABLE = "inet test-policies"
_RULESET = """\
table {table} {{
  chain forward {{
    type filter hook forward priority filter;
    ct state established,related accept
    {rules}
  }}
}}
"""


@contextmanager
def enforced(instance: Instance, cluster: Kubectl) -> Iterator[None]:
    """Enforce the cluster's policies on all its nodes while the block runs; what comes later is not seen."""
    text = cluster.run("get", "networkpolicies,pods,namespaces", "--all-namespaces", "-o", "json")
    rules = ruleset(json.loads(text)["items"])
    with ExitStack() as undo:
        for node in instance.nodes:
            node.inside.run("nft", "-f", "-", stdin=rules)  # all of it or nothing
            undo.callback(node.inside.run, "nft", "delete", "table", *TABLE.split())
        yield


def ruleset(objects: list[Object]) -> str:
    """Return nftables rules for a cluster's policies, pods and namespaces.

    A pod that any policy selects gets what one of its policies accepts, and nothing else; a pod that none
    selects gets everything. Where pods may connect to (a notebook's policy says that too) is left open.
    """
    spaces = {each["metadata"]["name"]: _labels(each) for each in objects if each["kind"] == "Namespace"}
    pods = [_Pod.of(each, spaces) for each in objects if each["kind"] == "Pod" and _has_address(each)]
    accepted, isolated = [], set()
    for policy in (each for each in objects if each["kind"] == "NetworkPolicy"):
        space, spec = policy["metadata"]["namespace"], policy["spec"]
        assert "Ingress" in spec["policyTypes"], f"{policy['metadata']['name']} is not about ingress"
        for pod in pods:
            if pod.space == space and _matches(spec["podSelector"], pod.labels):
                isolated.add(pod.address)
                accepted += [
                    line for rule in spec.get("ingress", ()) for line in _accept(rule, pod, space, pods)
                ]
    dropped = [f"ip daddr {address} drop" for address in sorted(isolated)]
    return _RULESET.format(table=TABLE, rules="\n    ".join(accepted + dropped))


@dataclass(frozen=True)
class _Pod:
    """What a policy sees of a pod; `ports` are its containers', by their names."""

    address: str
    space: str
    labels: Object
    space_labels: Object
    ports: dict[str, int]

    @classmethod
    def of(cls, pod: Object, spaces: dict[str, Object]) -> _Pod:
        space = pod["metadata"]["namespace"]
        ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
        named = {port["name"]: port["containerPort"] for port in ports if "name" in port}
        return cls(pod["status"]["podIP"], space, _labels(pod), spaces[space], named)


def _accept(rule: Object, pod: _Pod, space: str, pods: list[_Pod]) -> list[str]:
    """Return what one ingress rule of a policy in a namespace lets through to a pod, a line for each port."""
    source = ""
    if "from" in rule:
        peers = [each.address for each in pods if any(_is_peer(it, each, space) for it in rule["from"])]
        if not peers:
            return []
        source = f"ip saddr {{ {', '.join(peers)} }} "
    target = f"{source}ip daddr {pod.address}"
    ports = [(port.get("protocol", "TCP").lower(), port["port"]) for port in rule.get("ports", ())]
    lines = [f"{target} {protocol} dport {pod.ports.get(port, port)} accept" for protocol, port in ports]
    return lines or [f"{target} accept"]


def _is_peer(peer: Object, pod: _Pod, space: str) -> bool:
    assert peer.keys() <= {"podSelector", "namespaceSelector"}, f"not known: {peer}"
    here = (
        _matches(peer["namespaceSelector"], pod.space_labels)
        if "namespaceSelector" in peer
        else pod.space == space
    )
    return here and _matches(peer.get("podSelector", {}), pod.labels)


def _matches(selector: Object, labels: Object) -> bool:
    assert selector.keys() <= {"matchLabels"}, f"not known: {selector}"
    wanted: Object = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _labels(item: Object) -> Object:
    labels: Object = item["metadata"].get("labels", {})
    return labels


def _has_address(pod: Object) -> bool:
    """Whether it has an address of its own; that of one which has ended may be another's by now."""
    ended = pod["status"]["phase"] in ("Succeeded", "Failed")
    return bool(pod["status"].get("podIP")) and not ended and not pod["spec"].get("hostNetwork")
