"""Who may decide and write: one process at a time, by a Lease.

Every ``now`` is the caller's own steady seconds; nobody judges by another machine's clock, so the clocks may
differ as they like. Why two never write at the same time:

- the holder counts from *before* it sent its newest renewal, everybody else from *after* they read it, so
  everybody else's count begins later, whatever the network did in between;
- the holder begins no write once ``renew_seconds`` have passed, and a write is over within
  ``lease_seconds - renew_seconds``;
- everybody else waits for the whole ``lease_seconds``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Terms:
    """What all candidates go by.

    Attributes:
        lease_seconds: without a renewal, until somebody else may lead.
        renew_seconds: without a renewal, until the holder gives up.
        retry_seconds: between two tries to renew or to get the lease.
    """

    lease_seconds: int = 15
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Lease:
    """What the Lease says.

    Attributes:
        holder: identity of who leads; empty once it was released.
        seconds: how long it is good for, as its holder wrote it.
        transitions: how often it changed hands.
        acquired: when, by the holder's clock; for people, like ``renewed``.
        version: that was read; empty for one that is yet to be created.
    """

    holder: str
    seconds: int
    transitions: int
    acquired: str
    renewed: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one candidate knows.

    Attributes:
        identity: its own.
        lease: as known newest; None = there was none yet.
        changed: when that was seen to be different from before.
        renewed: when the newest claim of its own that was accepted had been sent; None = it does not hold
            the lease.
    """

    identity: str
    terms: Terms = Terms()
    lease: Lease | None = None
    changed: float = 0.0
    renewed: float | None = None


def after_read(standing: Standing, lease: Lease | None, now: float) -> Standing:
    """Take in what a read answered.

    Args:
        standing: so far.
        lease: what there is; None for nothing. A Lease that somebody deleted was not released by its
            holder, so it is waited out like one that is there.
        now: when the answer was there.
    """
    known = standing.lease
    if lease is None:
        return replace(standing, lease=replace(known, version="") if known else None)
    if known and known.version == lease.version:
        return standing
    renewed = standing.renewed if lease.holder == standing.identity else None
    return replace(standing, lease=lease, changed=now, renewed=renewed)


def after_write(standing: Standing, lease: Lease, sent: float, now: float) -> Standing:
    """Take in that a claim was accepted.

    Args:
        standing: so far.
        lease: as it was stored.
        sent: from before it was sent.
        now: when the answer was there.
    """
    return replace(standing, lease=lease, changed=now, renewed=sent)


def claim(standing: Standing, now: float, stamp: str) -> Lease | None:
    """Return the Lease to write; None while somebody else holds it.

    A Lease in the candidate's own name is its own even if it remembers nothing: its container was started
    again in the same pod, and the process before it is dead.

    Args:
        standing: of the candidate.
        now: steady seconds.
        stamp: the same moment for people.
    """
    known, own = standing.lease, standing.terms.lease_seconds
    if known is None:
        return Lease(standing.identity, own, 0, acquired=stamp, renewed=stamp)
    if known.holder == standing.identity:
        return replace(known, seconds=own, renewed=stamp)
    if known.holder and now < standing.changed + known.seconds:
        return None
    return replace(
        known,
        holder=standing.identity,
        seconds=own,
        transitions=known.transitions + 1,
        acquired=stamp,
        renewed=stamp,
    )


def may_write(standing: Standing, now: float) -> bool:
    """Whether a write that begins now is over before anybody else may lead."""
    return standing.renewed is not None and now < standing.renewed + standing.terms.renew_seconds


def release(standing: Standing, now: float, stamp: str) -> Lease | None:
    """Return the Lease that lets anybody else lead at once; None when it is not ours to give."""
    if standing.lease is None or not may_write(standing, now):
        return None
    return replace(standing.lease, holder="", renewed=stamp)
