"""Rules of egress: addresses of what is wanted and needed, and words about what stays closed."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.api.v1alpha1 import PoolPackages, is_range
from mlpools_operator.domain.pods import egress
from mlpools_operator.domain.pods.egress import Answer, Known, Target

PUBLIC = PoolPackages()
OWN = PoolPackages.model_validate(
    {"indexURL": "https://index.example.com:8443/python", "extraIndexURLs": ["http://wheels.example.com/x"]}
)
ANYWHERE = {"namespaceSelector": {}}


def known(**answers: Any) -> Known:
    found = {name.replace("_", "."): it for name, it in answers.items()}
    return Known(found, (Target("10.0.0.7", 6443),), ("10.96.0.10",))


def opened(rules: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """The ranges and TCP ports that rules open; port 0 is any."""
    return {
        (peer["ipBlock"]["cidr"], port["port"])
        for rule in rules
        for peer in rule["to"]
        for port in rule.get("ports", [{"port": 0, "protocol": "TCP"}])
        if "ipBlock" in peer and port["protocol"] == "TCP"
    }


def test_what_every_notebook_needs_is_open_and_nothing_else() -> None:
    rules = egress.rules((), PUBLIC, known(pypi_org=Answer(("151.101.0.223", "2a04:4e42::223"))))
    assert rules[0] == {"to": [ANYWHERE]}
    assert opened(rules) == {
        ("10.96.0.10/32", 53),
        ("10.0.0.7/32", 6443),
        ("151.101.0.223/32", 443),
        ("2a04:4e42::223/128", 443),
    }
    (dns,) = [rule for rule in rules if {"port": 53, "protocol": "UDP"} in rule.get("ports", ())]
    assert dns["to"] == [{"ipBlock": {"cidr": "10.96.0.10/32"}}]


def test_the_index_of_the_pool_takes_the_place_of_the_public_one() -> None:
    assert set(egress.targets((), PUBLIC)) == {
        Target("pypi.org", 443),
        Target("files.pythonhosted.org", 443),
    }
    wanted = {Target("index.example.com", 8443), Target("wheels.example.com", 80)}
    assert set(egress.targets((), OWN)) == wanted


def test_a_list_opens_its_hosts_at_their_ports_and_its_ranges_wholly() -> None:
    wanted = ("Files.Example.com:443", "10.1.2.3:5432", "10.20.1.1/16", "fd00::/8")
    rules = egress.rules(wanted, OWN, known(files_example_com=Answer(("192.0.2.1",))))
    assert opened(rules) == {
        ("10.96.0.10/32", 53),
        ("10.0.0.7/32", 6443),
        ("192.0.2.1/32", 443),
        ("10.1.2.3/32", 5432),
        ("10.20.0.0/16", 0),
        ("fd00::/8", 0),
    }


def test_a_name_without_an_address_stays_closed_and_is_named() -> None:
    silent = Answer((), "DNS does not answer.")
    old = Answer(("192.0.2.2",), "DNS does not answer.")
    found = known(a_example_com=silent, b_example_com=old)
    wanted = ("a.example.com:443", "b.example.com:444")
    assert ("192.0.2.2/32", 444) in opened(egress.rules(wanted, OWN, found))
    assert not [it for it in opened(egress.rules(wanted, OWN, found)) if it[1] == 443]
    words = egress.closed(wanted, OWN, found)
    assert "a.example.com:443 stays closed: DNS does not answer." in words
    assert "b.example.com:444 goes by its last known addresses" in words
    assert egress.closed(wanted[:0], OWN, found) == ""


#: Without those that the API refuses.
_RANGES = st.one_of(
    st.ip_addresses(v=4).map(lambda it: f"{it}/24"), st.ip_addresses(v=6).map(lambda it: f"{it}/64")
).filter(is_range)
_HOSTS = st.sampled_from(["a.example.com:443", "b.example.com:443", "a.example.com:80", "10.0.0.1:22"])
_ADDRESSES = st.lists(st.ip_addresses().map(str), max_size=3).map(tuple)


@given(
    st.lists(st.one_of(_RANGES, _HOSTS), max_size=6),
    _ADDRESSES,
    _ADDRESSES,
    st.randoms(use_true_random=False),
)
def test_every_rule_names_its_peers_and_the_order_of_lists_does_not_matter(
    wanted: list[str], of_a: tuple[str, ...], of_b: tuple[str, ...], random: Any
) -> None:
    found = known(a_example_com=Answer(of_a), b_example_com=Answer(of_b))
    rules = egress.rules(tuple(wanted), PUBLIC, found)
    # An empty list of peers would open everything.
    assert all(rule["to"] for rule in rules)
    for cidr, _ in opened(rules):
        ipaddress.ip_network(cidr, strict=True)
    other = random.sample(wanted, len(wanted))
    assert egress.rules(tuple(other), PUBLIC, found) == rules
