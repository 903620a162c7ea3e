"""What was measured, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Two directions of one adapter differ by less.
_ABOUT = 3.0


@dataclass(frozen=True)
class Link:
    """From one rank to the next.

    Attributes:
        bandwidth: GB/s (10^9 bytes) that arrived.
        round_trip: milliseconds of the median small message and its answer; None where nobody measured it.
        trouble: why nothing arrived; empty if something did.
    """

    sender: int
    receiver: int
    bandwidth: float = 0.0
    round_trip: float | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Measured:
    """A gang's network.

    Attributes:
        over: ``TCP`` or ``NCCL``.
        links: one into each rank.
        all_reduce: bus bandwidth of an all-reduce in GB/s as nccl-tests defines it; None over TCP, where a
            ring is as fast as its slowest link.
    """

    over: str
    links: Sequence[Link]
    all_reduce: float | None = None

    @property
    def slowest(self) -> Link:
        """The link that carries the least."""
        return min(self.links, key=lambda link: link.bandwidth)

    @property
    def bandwidth(self) -> float:
        """The bus bandwidth in GB/s."""
        broken = any(link.trouble for link in self.links)
        return self.slowest.bandwidth if self.all_reduce is None or broken else self.all_reduce


def in_words(measured: Measured) -> str:
    """Return what was found, in a sentence without its full stop."""
    link = measured.slowest
    path = f"from rank {link.sender} to rank {link.receiver}"
    if link.trouble:
        return f"nothing arrives {path} over {measured.over} ({link.trouble})"
    trips = [it.round_trip for it in measured.links if it.round_trip is not None]
    trip = f", and the longest round trip takes {max(trips):.2f} ms" if trips else ""
    whole = f"an all-reduce reaches {measured.bandwidth:.2f} GB/s over {measured.over}; "
    start = whole if measured.all_reduce is not None else ""
    over = "" if start else f" over {measured.over}"
    return f"{start}the slowest link, {path}, carries {link.bandwidth:.2f} GB/s{over}{trip}"


def too_slow(measured: Measured, minimum: float) -> str:
    """Return why a gang may not work on this network; empty if it may.

    Args:
        measured: of it.
        minimum: GB/s of bus bandwidth that the pool asks for; 0: that every link works is enough.
    """
    broken = any(link.trouble for link in measured.links)
    if not broken and measured.bandwidth >= minimum:
        return ""
    least = f", and the pool asks for {minimum:g} GB/s" if minimum else ""
    return (
        f"The network between the ranks is too slow: {in_words(measured)}{least}. Look at the machines' "
        "network, or at the pool's spec.network and spec.preflight."
    )


def blamed(measured: Measured) -> int:
    """Return the rank whose machine most likely slows the gang down.

    A machine with a bad adapter is slow in both directions. So of the slowest link's two ends it is the
    receiver if its other link is about as slow, and slower than the sender's; else the sender.
    """
    slowest = measured.slowest
    into = {link.receiver: link.bandwidth for link in measured.links}
    out_of = {link.sender: link.bandwidth for link in measured.links}
    sender, receiver = slowest.sender, slowest.receiver
    as_slow = out_of[receiver] < min(_ABOUT * slowest.bandwidth, into[sender])
    return receiver if as_slow else sender
