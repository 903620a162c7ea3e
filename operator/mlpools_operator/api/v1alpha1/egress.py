"""Where pods may connect to: names with ports, and ranges of addresses."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.meta import LIST_SET, Rule

_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
#: A name without a dot would be another host in each namespace.
_HOST_AND_PORT = f"^{_LABEL}([.]{_LABEL})+:{_PORT}$"


def is_range(text: str) -> bool:
    """Whether a text is a CIDR, by the rules of CEL's isCIDR."""
    address, slash, length = text.partition("/")
    if not slash or not length.isdecimal() or str(int(length)) != length or "%" in address:
        return False
    try:
        network = ipaddress.ip_interface(text)
    except ValueError:
        return False
    return not (isinstance(network, ipaddress.IPv6Interface) and network.ip.ipv4_mapped)


_Target = Annotated[
    str,
    StringConstraints(min_length=4, max_length=260),
    Rule(
        f"isCIDR(self) || self.matches('{_HOST_AND_PORT}')",
        "must be a host's full name and a port, such as files.example.com:443, or a range of addresses, such "
        "as 10.20.0.0/16.",
        lambda text: is_range(text) or re.search(_HOST_AND_PORT, text) is not None,
    ),
]
Egress = Annotated[tuple[_Target, ...], Field(max_length=64), LIST_SET]
