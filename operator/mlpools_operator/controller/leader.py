"""Taking part in the election: this process asks for the Lease, renews it, and gives it back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Protocol

from mlpools_operator import logs
from mlpools_operator.cluster import errors
from mlpools_operator.cluster.leases import Leases
from mlpools_operator.domain import leadership
from mlpools_operator.domain.leadership import Standing, Terms
from mlpools_operator.domain.times import micro

#: Tries are spread, so that candidates that started together do not go on asking together.
_JITTER = (0.75, 1.25)
#: Unlike CLOCK_MONOTONIC it goes on while the machine is suspended, as everybody else's lease time does.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Return seconds that only ever grow."""
    return time.clock_gettime(_CLOCK)


DEFAULT_TERMS = Terms()


class LeadershipLostError(Exception):
    """Somebody else may lead by now, so this process must end; the message says why."""


class Leadership(Protocol):
    """Whether this process leads."""

    async def run(self) -> None:
        """Ask to lead and go on leading until cancelled."""

    async def elected(self) -> None:
        """Return once this process leads."""

    def may_write(self) -> bool:
        """Whether a write that begins now is this process's to make; safe to ask from any thread."""

    async def release(self) -> None:
        """Let others lead; every write of this process is over."""


class Unopposed:
    """Always leads: for a process that is alone by other means."""

    async def run(self) -> None:
        """Return when cancelled."""
        await asyncio.Event().wait()

    async def elected(self) -> None:
        """Return at once."""

    def may_write(self) -> bool:
        """Return True."""
        return True

    async def release(self) -> None:
        """Do nothing."""


class Candidate:
    """Leads while it holds the Lease. Having lost it, it never leads again: what it knows may be wrong."""

    def __init__(
        self,
        leases: Leases,
        identity: str,
        *,
        terms: Terms = DEFAULT_TERMS,
        clock: Callable[[], float] = steady,
        wall_clock: Callable[[], float] = time.time,
        jitter: random.Random | None = None,
    ) -> None:
        """Stand for election under an identity that no other living process has."""
        self._leases, self._clock, self._wall_clock = leases, clock, wall_clock
        self._standing = Standing(identity, terms)
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, hides nothing
        self._elected = asyncio.Event()
        self._failing = False
        self._leader = ""

    async def run(self) -> None:
        """Ask for the Lease until it is ours, and renew it until cancelled.

        Raises:
            LeadershipLostError: it was ours, and could not be renewed in time.
        """
        while True:
            self._check()  # first: the process may have been stopped for any time
            try:
                async with asyncio.timeout(self._left()):
                    await self._attempt()
                self._failing = False
            except TimeoutError:
                pass
            except errors.ClusterError as error:
                if not self._failing:
                    logs.logger().warning("The lease %s could not be had: %s", self._leases.place, error)
                self._failing = True
            self._check()
            self._tell()
            wait = self._standing.terms.retry_seconds * self._jitter.uniform(*_JITTER)
            left = self._left()
            await asyncio.sleep(wait if left is None else min(wait, left))

    async def elected(self) -> None:
        """Return once this process leads."""
        await self._elected.wait()

    def may_write(self) -> bool:
        """Whether the Lease outlives a write that begins now."""
        return leadership.may_write(self._standing, self._clock())

    async def release(self) -> None:
        """Give the Lease back, if it is still ours, so that nobody has to wait for its end."""
        try:
            try:
                await self._give_back()
            except errors.Conflict:  # a renewal was under way
                await self._read()
                await self._give_back()
        except errors.ClusterError as error:
            logs.logger().warning(
                "The lease %s could not be given back, others wait for its end: %s", self._leases.place, error
            )

    async def _give_back(self) -> None:
        lease = leadership.release(self._standing, self._clock(), self._stamp())
        if lease is not None:
            await self._leases.write(lease)
            logs.logger().info("Gave the lease %s back.", self._leases.place)

    async def _attempt(self) -> None:
        """Claim what may be claimed. A leader does not read first: the version that it knows is its own."""
        if self._standing.renewed is None:
            await self._read()
        claim = leadership.claim(self._standing, self._clock(), self._stamp())
        if claim is None:
            return
        sent = self._clock()
        try:
            stored = await self._leases.write(claim)
        except (errors.Conflict, errors.AlreadyExists, errors.NotFound):
            await self._read()  # somebody else was quicker, or an answer to us was lost
        else:
            self._standing = leadership.after_write(self._standing, stored, sent, self._clock())

    async def _read(self) -> None:
        lease = await self._leases.read()
        self._standing = leadership.after_read(self._standing, lease, self._clock())

    def _check(self) -> None:
        if not self._elected.is_set() or self.may_write():
            return
        standing = self._standing
        why = f"no renewal was accepted for {standing.terms.renew_seconds:.0f} s"
        if standing.lease is not None and standing.lease.holder not in ("", standing.identity):
            why = f"{standing.lease.holder} has it"
        raise LeadershipLostError(f"Lost the lease {self._leases.place}: {why}. Ending, to start again.")

    def _tell(self) -> None:
        lease = self._standing.lease
        if self._standing.renewed is not None and not self._elected.is_set():
            self._elected.set()
            logs.logger().info("Leads from now on: got the lease %s.", self._leases.place)
        elif lease is not None and self._standing.renewed is None and lease.holder != self._leader:
            self._leader = lease.holder
            logs.logger().info("Stands by: %s leads.", lease.holder or "nobody")

    def _left(self) -> float | None:
        """Return the seconds in which a leader has to renew; None for others, who have time."""
        if self._standing.renewed is None:
            return None
        deadline = self._standing.renewed + self._standing.terms.renew_seconds
        return max(0.0, deadline - self._clock())

    def _stamp(self) -> str:
        return micro(self._wall_clock())
