"""Where a pod may connect to, as rules of a NetworkPolicy, which knows addresses only.

Always: the pods of the cluster, its DNS and its API, and the pool's package index. Beyond that what the spec
lists. The names in that list are looked up at the edge; what was found there comes in here as ``Known``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from mlpools_operator.api.v1alpha1 import NotebookRuntimeSpec, PoolPackages, is_range
from mlpools_operator.domain.plan import Object

#: Where packages are listed, and where their files are, if the pool names no index.
_PUBLIC_INDEX = ("https://pypi.org", "https://files.pythonhosted.org")
_DNS_PORT = 53


class Target(NamedTuple):
    """A place that may be connected to, by TCP."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What DNS said of a name.

    Attributes:
        addresses: of the last minutes; a name's answers differ from time to time.
        trouble: why it says nothing now; empty if it does.
    """

    addresses: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What names and the cluster's own services are at.

    Attributes:
        answers: by name.
        api: addresses and ports of the API server.
        nameservers: addresses of the cluster's DNS.
    """

    answers: Mapping[str, Answer] = field(default_factory=dict)
    api: tuple[Target, ...] = ()
    nameservers: tuple[str, ...] = ()


def listed(spec: NotebookRuntimeSpec) -> tuple[str, ...]:
    """Return what the spec opens: its list, and where the repository is that it clones."""
    if spec.git is None:
        return spec.egress
    host, port = _of_url(spec.git.url)
    return (*spec.egress, f"{host}:{port}")


def targets(wanted: Iterable[str], packages: PoolPackages) -> tuple[Target, ...]:
    """Return the places with names that a pod may connect to.

    Args:
        wanted: what the spec opens.
        packages: the pool's package index.
    """
    indexes = (packages.index_url,) if packages.index_url else _PUBLIC_INDEX
    listed = (Target(*_split(text)) for text in wanted if not is_range(text))
    urls = (*indexes, *packages.extra_index_urls)
    return tuple(sorted({*listed, *map(_of_url, urls)}))


def rules(wanted: Sequence[str], packages: PoolPackages, known: Known) -> list[Object]:
    """Return the egress rules.

    Args:
        wanted: what the spec opens.
        packages: the pool's package index.
        known: the addresses; a name without any stays closed.
    """
    blocks: dict[int, set[str]] = {}
    for target in (*targets(wanted, packages), *known.api):
        addresses = _addresses(target.host, known)
        if addresses:
            blocks.setdefault(target.port, set()).update(addresses)
    ranges = {str(ipaddress.ip_network(text, strict=False)) for text in wanted if is_range(text)}
    made: list[Object] = [{"to": [{"namespaceSelector": {}}]}]
    if known.nameservers:
        ports = [{"port": _DNS_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]
        made.append({"to": _blocks(map(_alone, known.nameservers)), "ports": ports})
    made += [
        {"to": _blocks(map(_alone, found)), "ports": [{"port": port, "protocol": "TCP"}]}
        for port, found in sorted(blocks.items())
    ]
    return [*made, {"to": _blocks(ranges)}] if ranges else made


def closed(wanted: Sequence[str], packages: PoolPackages, known: Known) -> str:
    """Say which of the places stay closed, and which go by old addresses; empty if there is none."""
    words = []
    for host, port in targets(wanted, packages):
        answer = known.answers.get(host)
        if answer is not None and answer.trouble:
            what = "goes by its last known addresses" if answer.addresses else "stays closed"
            words.append(f"{host}:{port} {what}: {answer.trouble}")
    return "; ".join(words)


def _of_url(url: str) -> Target:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:  # nobody can connect there either
        port = None
    return Target(parts.hostname or "", port or (443 if parts.scheme == "https" else 80))


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.lower(), int(port)


def _addresses(host: str, known: Known) -> tuple[str, ...]:
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        answer = known.answers.get(host)
        return answer.addresses if answer else ()


def _alone(address: str) -> str:
    return str(ipaddress.ip_network(address))


def _blocks(ranges: Iterable[str]) -> list[Object]:
    return [{"ipBlock": {"cidr": cidr}} for cidr in sorted(ranges)]
