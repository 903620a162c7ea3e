"""Which /30 an instance gets, and names that the kernel takes."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cluster import addresses, network
from tools.cluster.addresses import UPLINKS, Site, Uplink, free_uplink
from tools.cluster.controlplane import serving_hosts
from tools.cluster.instance import Instance
from tools.steps import ToolError

prefixes = st.integers(min_value=16, max_value=32)
inside = st.integers(min_value=int(UPLINKS[0]), max_value=int(UPLINKS[0]) + 4096)
routes = st.builds(lambda address, prefix: IPv4Network((address, prefix), strict=False), inside, prefixes)


@given(st.lists(routes, max_size=8))
def test_an_uplink_overlaps_no_route_of_the_host(taken: list[IPv4Network]) -> None:
    free = free_uplink(taken).network
    assert free.subnet_of(UPLINKS)
    assert not any(free.overlaps(route) for route in taken)


def test_the_first_free_uplink_is_taken_and_its_ends_differ() -> None:
    uplink = free_uplink([IPv4Network("198.18.0.0/30"), IPv4Network("198.18.0.6/32")])
    assert uplink == Uplink.of("198.18.0.8/30")
    assert (uplink.host, uplink.instance) == ("198.18.0.9", "198.18.0.10")


def test_no_uplink_is_left() -> None:
    with pytest.raises(ToolError, match=r"198\.18\.0\.0/15"):
        free_uplink([UPLINKS])


def test_an_api_server_is_known_by_every_name_a_pod_or_a_person_uses() -> None:
    hosts = serving_hosts(Site("0.0.0.0", addresses.BRIDGE, "198.18.0.2", 6443))
    assert {"localhost", "kubernetes.default", "kubernetes.default.svc.cluster.local"} <= set(hosts)
    assert {"127.0.0.1", "10.96.0.1", "172.31.0.1", "198.18.0.2"} <= set(hosts)
    assert "" not in serving_hosts(Site())


@pytest.mark.parametrize("name", ["dev", "e2e-4194304", "a", "x1"])
def test_a_name_that_is_accepted_fits_a_network_device(name: str) -> None:
    assert len(network.host_device(Instance(name).name)) <= 15


@pytest.mark.parametrize("name", ["", "Dev", "twelve-chars", "-a", "a-", "a/b", "a b", "../x"])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ToolError, match="cannot name a cluster"):
        Instance(name)


def test_pods_of_each_node_are_routed_to_it_and_to_no_other() -> None:
    for number in (1, 2):
        own, other = addresses.pod_range(number), addresses.pod_range(3 - number)
        commands = network.node_commands(number, 2)
        assert f"route add {other} via {addresses.node_address(3 - number)}" in commands
        assert not any(own in command for command in commands)
