"""Hosts with a network of their own, as pods have it: an address each, and a router between them.

One that is cut off hears and is heard no more, and is told nothing: no link goes down, no connection is
closed, nothing answers that a host cannot be reached. Nothing is left of them when the test's process dies.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.support.privileges import needs_root
from tools.cluster.namespaces import Entrance

#: For tests that use ``hosts``.
needs_hosts = needs_root("a network namespace")


@dataclass(frozen=True)
class Hosts:
    """Some hosts, counted from 0; ``hosts`` makes them."""

    router: Entrance
    inside: Sequence[Entrance]

    @staticmethod
    def address(number: int) -> str:
        """Return where the others reach one."""
        return f"10.77.{number}.2"

    def cut(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Lose every packet from and to one of them."""
        return cut_off(self.router, self.address(number))


@contextlib.contextmanager
def hosts(count: int) -> Iterator[Hosts]:
    """Yield hosts that all reach one another."""
    with contextlib.ExitStack() as stack:
        router, *holders = (stack.enter_context(_namespace()) for _ in range(count + 1))
        made = Hosts(_way_into(router), [_way_into(holder) for holder in holders])
        made.router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        for number, holder in enumerate(holders):
            gateway = f"10.77.{number}.1"
            _ip(
                made.router,
                f"link add host{number} type veth peer name eth0 netns {holder}",
                f"address add {gateway}/24 dev host{number}",
                f"link set host{number} up",
            )
            _ip(
                made.inside[number],
                "link set lo up",
                f"address add {made.address(number)}/24 dev eth0",
                "link set eth0 up",
                f"route add default via {gateway}",
            )
        yield made


@contextlib.contextmanager
def cut_off(router: Entrance, address: str) -> Iterator[None]:
    """Have a router lose every packet from and to an address."""
    rules = [(direction, address, "blackhole") for direction in ("from", "to")]
    for rule in rules:
        router.run("ip", "rule", "add", *rule)
    try:
        yield
    finally:
        for rule in rules:
            router.run("ip", "rule", "delete", *rule)


@contextlib.contextmanager
def _namespace() -> Iterator[int]:
    """Yield the id of a process that holds a new network namespace as long as this process lives."""
    holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:  # which closes its input at last, and so ends it
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"there\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"there\n"
        yield holder.pid


def _way_into(holder: int) -> Entrance:
    return Entrance(("nsenter", f"--target={holder}", "--net", "--"))


def _ip(inside: Entrance, *commands: str) -> None:
    inside.run("ip", "-batch", "-", stdin="\n".join(commands) + "\n")
