from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import PoolNetwork
from mlpools_operator.domain.pods import network_profiles
from mlpools_operator.domain.pods.network_profiles import PROFILES, Wiring

_PAGE = Path(__file__).parents[4] / "docs" / "networking.md"


def wiring(**network: Any) -> Wiring:
    return network_profiles.wiring(PoolNetwork.model_validate(network), "4Gi")


def test_the_page_shows_the_table_as_it_is() -> None:
    page = _PAGE.read_text()
    common = PROFILES["Pod"].env
    assert {f"`{name}={value}`" for name, value in common.items()} <= set(re.findall(r"`[^`]+`", page))
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|(.*?)\|(.*?)\|", page, re.MULTILINE)
    shown = {
        name: (network, set(re.findall(r"`(\S+: \S+)`", resources)), set(re.findall(r"`(\S+=\S+)`", env)))
        for name, network, resources, env in rows
        if name in PROFILES
    }
    assert shown == {
        name: (
            "the machine's" if profile.host_network else "its own",
            {f"{key}: {value}" for key, value in profile.resources.items()},
            {f"{key}={value}" for key, value in profile.env.items() if key not in common},
        )
        for name, profile in PROFILES.items()
    }
    assert all(common.items() <= PROFILES[name].env.items() for name in PROFILES if name != "Custom")


def test_a_profile_without_a_fabric_asks_for_nothing() -> None:
    plain = wiring()
    assert (plain.host_network, plain.resources, plain.annotations, plain.capabilities) == (False, {}, {}, ())
    assert plain.shared_memory == "1228Mi"
    assert not [name for name in plain.env if name != "NCCL_DEBUG"]


def test_an_interface_is_that_one_and_no_other_that_begins_so() -> None:
    env = wiring(interface="net1").env
    assert (env["NCCL_SOCKET_IFNAME"], env["GLOO_SOCKET_IFNAME"]) == ("=net1", "net1")


def test_a_gang_with_a_broken_fabric_does_not_fall_back_to_tcp() -> None:
    fabric = wiring(profile="RDMA", resources={"rdma/hca_shared_devices_a": 1})
    assert fabric.env["NCCL_NET"] == "IB"
    assert fabric.resources == {"rdma/hca_shared_devices_a": "1"}
    assert fabric.capabilities == ()


def test_a_pool_adds_to_its_profile_and_wins_over_it() -> None:
    fabric = wiring(
        profile="EFA",
        resources={"vpc.amazonaws.com/efa": 4, "hugepages-2Mi": "5120Mi"},
        env={"FI_EFA_USE_HUGE_PAGE": "1"},
        networks=["rail-0", "fast/rail-1@net2"],
        ipcLock=True,
        sharedMemory="2Gi",
    )
    assert fabric.resources == {"vpc.amazonaws.com/efa": "4", "hugepages-2Mi": "5120Mi"}
    assert (fabric.env["FI_EFA_USE_HUGE_PAGE"], fabric.env["FI_PROVIDER"]) == ("1", "efa")
    assert fabric.annotations == {"k8s.v1.cni.cncf.io/networks": "rail-0,fast/rail-1@net2"}
    assert fabric.capabilities == ("IPC_LOCK",)
    assert fabric.shared_memory == "2Gi"


def test_custom_is_what_is_given_and_nothing_else() -> None:
    assert wiring(profile="Custom", env={"A": "b"}, sharedMemory="10%") == Wiring(
        host_network=False,
        resources={},
        env={"A": "b"},
        annotations={},
        capabilities=(),
        shared_memory="409Mi",
    )


@pytest.mark.parametrize(
    ("network", "isolated", "words"),
    [
        ({}, True, ""),
        ({"isolation": False}, False, "have no NetworkPolicy"),
        ({"profile": "Host"}, False, "no NetworkPolicy isolates them, and a machine takes one"),
        ({"profile": "Host", "isolation": False}, False, "no NetworkPolicy isolates them"),
    ],
)
def test_what_does_not_isolate_says_so(network: dict[str, Any], isolated: bool, words: str) -> None:
    spec = PoolNetwork.model_validate(network)
    assert network_profiles.is_isolated(spec) == isolated
    assert words in network_profiles.remark(spec)
    assert bool(words) == bool(network_profiles.remark(spec))
