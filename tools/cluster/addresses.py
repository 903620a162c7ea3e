"""Who has which address.

Everything but the veth to the host lives in an instance's own network namespace, so its addresses
are the same in every instance and cannot meet a network of the host.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import random
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from tools.steps import ToolError

SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
BRIDGE = "172.31.0.1"
API_PORT = 6443
DNS_DOMAIN = "cluster.local"
# Set aside for benchmarks between networks (RFC 2544): no cloud or company routes it.
UPLINKS = ipaddress.IPv4Network("198.18.0.0/15")

# Below those that Linux gives to clients and to whoever asks for any.
PORTS = range(12_000, 32_000)


def node_address(number: int) -> str:
    """The address of node 1, 2, … on the instance's bridge."""
    return f"172.31.0.{10 + number}"


def pod_range(number: int) -> str:
    """The addresses that a node gives to its pods."""
    return f"10.244.{number}.0/24"


@dataclass(frozen=True)
class Site:
    """Where an API server listens and how others reach it.

    Attributes:
        bind: What it listens on.
        advertise: What pods find behind the `kubernetes` Service; empty where there are no pods.
        reach: Where this machine's programs find it.
        port: Its port; 0 for any that is free.
    """

    bind: str = "127.0.0.1"
    advertise: str = ""
    reach: str = "127.0.0.1"
    port: int = 0


ALONE = Site()


@dataclass(frozen=True)
class Uplink:
    """The veth between the host and an instance: its only way in."""

    network: ipaddress.IPv4Network

    @classmethod
    def of(cls, network: str) -> Uplink:
        """The uplink with that network, for example `198.18.0.0/30`."""
        return cls(ipaddress.IPv4Network(network))

    @property
    def host(self) -> str:
        """The host's end."""
        return str(self.network[1])

    @property
    def instance(self) -> str:
        """The instance's end."""
        return str(self.network[2])


def free_uplink(taken: Iterable[ipaddress.IPv4Network]) -> Uplink:
    """The first /30 that no route of the host touches."""
    busy = list(taken)
    first, end = int(UPLINKS.network_address), int(UPLINKS.broadcast_address)
    while first < end:
        network = ipaddress.IPv4Network((first, 30))
        blocking = next((route for route in busy if route.overlaps(network)), None)
        if blocking is None:
            return Uplink(network)
        first = int(blocking.broadcast_address) // 4 * 4 + 4
    raise ToolError(f"Every /30 of {UPLINKS} is routed already: remove a cluster that is not needed.")


def host_routes() -> list[ipaddress.IPv4Network]:
    """The destinations of all routes of this machine, in every table."""
    command = ["ip", "-4", "-json", "route", "show", "table", "all"]
    routes = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [ipaddress.IPv4Network(route["dst"]) for route in routes if route["dst"] != "default"]


def free_port(address: str) -> int:
    """A TCP port that nobody listens on, and that the kernel gives to nobody who asks for any."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((address, port))
            return port
