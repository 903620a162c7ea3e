"""Gangs with machines for some of their pods only: who makes room, so that one of them goes on.

The ledger counts nodes of one pool, and machines may be shared by several, or be fewer than a pool's
``maxNodes``. A scheduler places pod by pod, so each of two gangs may get half of what both need and keep it
from the other. As soon as they have been stuck like that for a while, the one that was admitted later gives
its machines back. All is read from pods, Jobs and statuses, so a restart of the operator changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: No further pod got a machine for so long: far beyond the pace of a scheduler that finds room.
STUCK_SECONDS = 20.0
#: Until the next look at the others while a gang is stuck.
LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class HalfGang:
    """An attempt that has machines for some of its pods, while the scheduler finds none for others.

    Attributes:
        uid: of the resource.
        pool: that it was admitted by.
        admitted_at: when its attempt was; what was admitted first goes on.
        since: when the last of its pods got a machine.
        lacks_room: a pod of others that goes may help it. An unbound volume, or a label that no machine
            has, helps nobody by being waited for together.
        machines: names of those that it has.
        selector: labels that its machines must have.
        devices: resources beyond CPU, memory and disk that each of its pods takes.
    """

    uid: str
    namespace: str
    name: str
    pool: str
    admitted_at: float
    since: float
    lacks_room: bool = True
    machines: frozenset[str] = frozenset()
    selector: Mapping[str, str] = field(default_factory=dict)
    devices: frozenset[str] = frozenset()

    def stuck_for(self, now: float) -> float:
        """Return for how many seconds it has stood still."""
        return now - self.since


def makes_room_for(mine: HalfGang, gangs: Iterable[HalfGang], now: float) -> HalfGang | None:
    """Return the gang for which one gives its machines back; None if it keeps them.

    The gangs are looked at in the order of their admission. Each keeps its machines unless one before it
    does that can use them: so of any that stand in each other's way exactly one goes on, and a gang never
    makes room for one that makes room itself.

    Args:
        mine: the gang that is asked about.
        gangs: all, in any order, of all pools.
        now: seconds since the epoch.
    """
    stuck = [gang for gang in gangs if gang.stuck_for(now) >= STUCK_SECONDS]
    kept: list[HalfGang] = []
    for gang in sorted(stuck, key=lambda it: (it.admitted_at, it.uid)):
        taker = next((it for it in kept if it.lacks_room and _can_use(it, gang)), None)
        if gang.uid == mine.uid:
            return taker
        if taker is None:
            kept.append(gang)
    return None


def _can_use(taker: HalfGang, giver: HalfGang) -> bool:
    """Whether machines of one gang may do for another: they share one, or ask for such that may be the same.

    A gang without GPUs does not make room for one with: that would not give it the GPUs that it lacks.
    """
    if taker.machines & giver.machines:
        return True
    agree = all(taker.selector.get(label, value) == value for label, value in giver.selector.items())
    return agree and taker.devices <= giver.devices
