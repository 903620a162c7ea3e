"""All ranks tell each other something, through rank 0, before any framework has connected them."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any

from mlpools.gang import Gang

_RETRY_SECONDS = 0.1
#: Followers of large gangs ask less often, so that rank 0 answers a few hundred a second at most.
_RANKS_PER_RETRY = 100
_GOODBYE_SECONDS = 10.0


class SilentRanks(Exception):  # noqa: N818 - a fact, with the ranks as its words
    """Ranks did not answer in time; the text names them."""


class Meeting:
    """Every rank makes the same calls in the same order; messages are a line of JSON each."""

    def __init__(self, gang: Gang, sockets: dict[int, socket.socket]) -> None:
        self.rank, self.world_size = gang.rank, gang.world_size
        self._sockets = sockets
        self._files: dict[int, IO[str]] = {
            rank: connection.makefile("r", encoding="utf-8") for rank, connection in sockets.items()
        }

    def gather(self, value: Any, seconds: float | None) -> list[Any]:
        """Return the values of all ranks, in rank order, on every rank.

        Args:
            value: of this rank, as JSON can hold it.
            seconds: to wait for the others; None: for ever.

        Raises:
            SilentRanks: some did not answer within this time.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        if self.rank:
            self._tell(0, value)
            values: list[Any] = self._hear([0], deadline)[0]
            return values
        heard = self._hear(range(1, self.world_size), deadline)
        values = [value, *(heard[rank] for rank in range(1, self.world_size))]
        for rank in heard:
            self._tell(rank, values)
        return values

    def close(self) -> None:
        """Say goodbye: rank 0 closes last, so that no connection lingers on its port."""
        for rank, connection in self._sockets.items():
            with contextlib.suppress(OSError):
                connection.settimeout(_GOODBYE_SECONDS)
                if self.rank == 0:
                    self._files[rank].read()
            self._files[rank].close()
            connection.close()

    def _tell(self, rank: int, value: Any) -> None:
        try:
            self._sockets[rank].sendall(json.dumps(value).encode() + b"\n")
        except OSError as error:
            raise SilentRanks(f"rank {rank} does not listen ({error})") from error

    def _hear(self, ranks: Iterable[int], deadline: float | None) -> dict[int, Any]:
        heard, silent = {}, []
        for rank in ranks:
            left = None if deadline is None else max(deadline - time.monotonic(), _RETRY_SECONDS)
            self._sockets[rank].settimeout(left)
            try:
                heard[rank] = json.loads(self._files[rank].readline())
            except (OSError, ValueError):
                silent.append(str(rank))
        if silent:
            raise SilentRanks(f"nothing came from rank {', '.join(silent[:8])}")
        return heard


@contextlib.contextmanager
def meet(gang: Gang) -> Iterator[Meeting]:
    """Bring the ranks together, however late some of them start; whoever ends the gang ends this, too."""
    sockets = _await(gang) if gang.leads else {0: _call(gang)}
    meeting = Meeting(gang, sockets)
    try:
        yield meeting
    finally:
        meeting.close()


def _await(gang: Gang) -> dict[int, socket.socket]:
    """Return a connection with each other rank."""
    sockets: dict[int, socket.socket] = {}
    family = socket.getaddrinfo(gang.address, gang.port, type=socket.SOCK_STREAM)[0][0]
    with socket.create_server((gang.address, gang.port), family=family, backlog=gang.world_size) as server:
        while len(sockets) < gang.world_size - 1:
            connection, _ = server.accept()
            connection.settimeout(_GOODBYE_SECONDS)
            try:
                sockets[_number(connection)] = connection
            except (OSError, ValueError):  # not one of ours
                connection.close()
    return sockets


def _call(gang: Gang) -> socket.socket:
    """Return a connection with rank 0; its name and its server may come up late."""
    pause = _RETRY_SECONDS * max(1.0, gang.world_size / _RANKS_PER_RETRY)
    while True:
        try:
            connection = socket.create_connection((gang.coordinator, gang.port), _GOODBYE_SECONDS)
            connection.sendall(f"{gang.rank:8d}".encode())
            return connection
        except OSError:
            time.sleep(pause)


def _number(connection: socket.socket) -> int:
    """Return the rank that a connection's first eight bytes tell."""
    text = b""
    while len(text) < 8:
        part = connection.recv(8 - len(text))
        if not part:
            raise ValueError("it left")
        text += part
    return int(text)
