"""Candidates for one Lease over a network that delays and loses, with clocks that agree about nothing.

Time is simulated and every candidate runs the real decisions. Between any two of its steps a candidate may
be stopped, for seconds or for minutes; a request may arrive late, or be carried out and never answered.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from mlpools_operator.domain import leadership
from mlpools_operator.domain.leadership import Lease, Standing

#: What a write takes at most, from the look at the fence until it is carried out or never will be.
WRITE_SECONDS = 4.0
#: How long a candidate waits for an answer about the lease.
PATIENCE = 4.0
#: Longest time between two looks.
_TICK = 0.3

Steps = Generator[float, None, None]


@dataclass
class Server:
    """Keeps the Lease; refuses a write over another version than the newest."""

    lease: Lease | None = None
    versions: Iterator[int] = field(default_factory=lambda: count(1))

    def write(self, lease: Lease) -> Lease | None:
        """Return the Lease as stored, None for a conflict."""
        if lease.version != (self.lease.version if self.lease else ""):
            return None
        self.lease = replace(lease, version=str(next(self.versions)))
        return self.lease


@dataclass(eq=False)
class Process:
    """One candidate.

    Attributes:
        offset: of its clock; nobody else's has to do with it.
        rate: its seconds in a true one.
        standing: None while it does not run.
        dead: it will not run again.
        writes_until: true time until which a write of its that was begun may be carried out.
    """

    name: str
    offset: float
    rate: float
    standing: Standing | None = None
    dead: bool = False
    writes_until: float = 0.0

    def clock(self, time: float) -> float:
        return self.offset + self.rate * time

    def may_write(self, time: float) -> bool:
        return self.standing is not None and leadership.may_write(self.standing, self.clock(time))


class Election:
    """Runs processes against a server, and looks at every moment whether two could write."""

    def __init__(
        self, processes: list[Process], delay: Callable[[], float], loses: Callable[[], bool]
    ) -> None:
        """Prepare.

        Args:
            processes: the candidates.
            delay: seconds until the next step of anything.
            loses: whether the next answer is lost.
        """
        self.server, self.processes = Server(), processes
        self.now, self.leaders = 0.0, list[str]()
        self._delay, self._loses = delay, loses
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._tick()
        for process in processes:
            self._go_on(process, self._life(process))

    def run(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            AssertionError: a write of one process could be carried out while another one may write.
        """
        while self._agenda and self._agenda[0][0] < seconds:
            self.now, _, action = heapq.heappop(self._agenda)
            action()
            self._look()

    def kill(self, name: str) -> None:
        """End a process for good; the fence goes with it."""
        (process,) = (process for process in self.processes if process.name == name)
        process.dead, process.standing = True, None

    def _look(self) -> None:
        writers = [process for process in self.processes if process.may_write(self.now)]
        for process in writers:
            if self.leaders[-1:] != [process.name]:
                self.leaders.append(process.name)
            process.writes_until = self.now + WRITE_SECONDS
        for writer in writers:
            for other in self.processes:
                assert other is writer or other.writes_until <= self.now, (
                    f"At {self.now:.1f} {writer.name} may write, {other.name} until {other.writes_until:.1f}."
                )

    def _tick(self) -> None:
        self._at(_TICK, self._tick)

    def _at(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + delay, next(self._order), action))

    def _go_on(self, process: Process, steps: Steps) -> None:
        if not process.dead:
            self._at(next(steps), lambda: self._go_on(process, steps))

    def _life(self, process: Process) -> Steps:
        """What the operator's process does, again and again: from a start to an end."""
        while True:
            yield self._delay()
            process.standing = Standing(process.name)
            led = False
            while not led or process.may_write(self.now):
                yield from self._attempt(process)
                led = led or process.standing.renewed is not None
                yield leadership.Terms().retry_seconds + self._delay()
                if led and self._loses():
                    yield from self._release(process)
                    break
            process.standing = None

    def _attempt(self, process: Process) -> Steps:
        standing = process.standing
        assert standing is not None
        if standing.renewed is None and not (yield from self._read(process)):
            return
        assert process.standing is not None
        claim = leadership.claim(process.standing, process.clock(self.now), f"{self.now}")
        yield self._delay()
        if claim is None:
            return
        sent, answers = process.clock(self.now), list[Lease | None]()
        self._at(self._delay(), lambda: answers.append(self.server.write(claim)))
        yield from self._wait_for(answers)
        if answers and not self._loses():
            stored = answers[0]
            if stored is None:
                yield from self._read(process)
            else:
                now = process.clock(self.now)
                process.standing = leadership.after_write(process.standing, stored, sent, now)

    def _release(self, process: Process) -> Steps:
        """All writes are over; the lease is given back, and the process ends."""
        assert process.standing is not None
        lease = leadership.release(process.standing, process.clock(self.now), f"{self.now}")
        process.standing = None
        if lease is not None:
            process.writes_until = self.now
            self._at(self._delay(), lambda: self.server.write(lease) and None)
        yield self._delay()

    def _read(self, process: Process) -> Generator[float, None, bool]:
        answers = list[Lease | None]()
        self._at(self._delay(), lambda: answers.append(self.server.lease))
        yield from self._wait_for(answers)
        if not answers or self._loses():
            return False
        assert process.standing is not None
        process.standing = leadership.after_read(process.standing, answers[0], process.clock(self.now))
        return True

    def _wait_for(self, answers: list[Lease | None]) -> Steps:
        deadline = self.now + PATIENCE
        while not answers and self.now < deadline:
            yield 0.1
        yield self._delay()
