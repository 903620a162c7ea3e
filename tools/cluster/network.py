"""The network of an instance: a bridge between its nodes, routes to their pods, a veth to the host."""

from __future__ import annotations

import json
from contextlib import suppress

from tools.cluster import addresses
from tools.cluster.namespaces import HERE, Entrance
from tools.steps import ToolError

BRIDGE_DEVICE = "nodes"
#: Locally administered; each instance has a network of its own.
BRIDGE_MAC = "02:00:00:00:00:01"
FORWARD = "echo 1 > /proc/sys/net/ipv4/ip_forward"


def host_device(instance: str) -> str:
    """The host's end of the uplink; 15 characters is all that the kernel gives a device's name."""
    return f"mlp-{instance}"


def connect_instance(instance: str, uplink: addresses.Uplink, pid: int, inside: Entrance) -> None:
    """Give a new instance its uplink and its bridge."""
    _ip(HERE, uplink_commands(host_device(instance), uplink, pid))
    _ip(inside, bridge_commands(uplink))
    inside.run("sh", "-c", FORWARD)


def disconnect_instance(instance: str, uplink: addresses.Uplink | None) -> None:
    """Remove an instance's uplink from the host.

    The kernel would do it with the namespace, but a connection that was cut keeps that for a minute.

    Args:
        instance: Its name.
        uplink: What its state folder says; None where that says nothing.

    Raises:
        ToolError: the uplink of that name is another's.
    """
    device = host_device(instance)
    there = _addresses(device)
    if there is None:
        return
    if uplink is None or uplink.host not in there:
        raise ToolError(f"Another cluster named {instance} runs, with another state folder.")
    try:
        HERE.run("ip", "link", "delete", device)
    except ToolError:
        if _addresses(device) is not None:  # and the kernel was not a moment quicker
            raise


def _addresses(device: str) -> list[str] | None:
    """The addresses of a device of the host; None if there is no such device."""
    listed = json.loads(HERE.run("ip", "-json", "-4", "address"))
    found = {link["ifname"]: [each["local"] for each in link["addr_info"]] for link in listed}
    return found.get(device)


def connect_node(number: int, count: int, pid: int, outer: Entrance, inside: Entrance) -> None:
    """Give a new node its device on the bridge and its routes.

    Args:
        number: 1, 2, …
        count: How many nodes there are.
        pid: Its pid 1, as the host sees it.
        outer: The way into the instance.
        inside: The way into the node.
    """
    # The pid must be seen by whoever names it: enter the instance's network only.
    network_only = Entrance((*(word for word in outer.command if word not in {"--pid", "--mount"}),))
    with suppress(ToolError):  # left by one that was killed
        network_only.run("ip", "link", "delete", f"node{number}")
    _ip(network_only, node_uplink_commands(number, pid))
    _ip(inside, node_commands(number, count))
    inside.run("sh", "-c", f"hostname node{number} && {FORWARD}")


def uplink_commands(device: str, uplink: addresses.Uplink, pid: int) -> list[str]:
    """On the host: a veth whose other end is the instance's."""
    return [
        f"link add {device} type veth peer name uplink netns {pid}",
        f"addr add {uplink.host}/30 dev {device}",
        f"link set {device} up",
    ]


def bridge_commands(uplink: addresses.Uplink) -> list[str]:
    """In the instance: addresses, the bridge."""
    return [
        "link set lo up",
        f"addr add {uplink.instance}/30 dev uplink",
        "link set uplink up",
        # Left alone, a bridge takes the lowest address of its ports, and another one when that port goes:
        # the nodes that know it by the old one would not reach it until they ask again.
        f"link add {BRIDGE_DEVICE} address {BRIDGE_MAC} type bridge",
        f"addr add {addresses.BRIDGE}/24 dev {BRIDGE_DEVICE}",
        f"link set {BRIDGE_DEVICE} up",
    ]


def node_uplink_commands(number: int, pid: int) -> list[str]:
    """In the instance: a node's device, and the way to its pods; Services by way of node 1."""
    device, node = f"node{number}", addresses.node_address(number)
    commands = [
        f"link add {device} master {BRIDGE_DEVICE} type veth peer name eth0 netns {pid}",
        f"link set {device} up",
        f"route replace {addresses.pod_range(number)} via {node}",
    ]
    return commands + ([f"route replace {addresses.SERVICES} via {node}"] if number == 1 else [])


def node_commands(number: int, count: int) -> list[str]:
    """In a node: its address, the way to the other nodes' pods, and to the host."""
    others = [other for other in range(1, count + 1) if other != number]
    return [
        "link set lo up",
        f"addr add {addresses.node_address(number)}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {addresses.BRIDGE}",
        *(f"route add {addresses.pod_range(other)} via {addresses.node_address(other)}" for other in others),
    ]


def _ip(inside: Entrance, commands: list[str]) -> None:
    inside.run("ip", "-batch", "-", stdin="\n".join(commands) + "\n")
