"""Links over TCP, with nothing but sockets."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Optional

from mlpools.gang import Gang
from mlpools.runtime.fabric.links import Link
from mlpools.runtime.fabric.meeting import Meeting

_Socket = Optional[socket.socket]
_Part = Callable[[socket.socket], Optional[float]]

_STREAM_SECONDS = 1.0
#: Of the stream's beginning, while TCP finds out how fast it may go.
_WARM_UP_SECONDS = 0.2
_PINGS = 21
_CHUNK = 1 << 18


def measure(meeting: Meeting, gang: Gang, seconds: float) -> Link:
    """Measure the link into this rank, and serve the one out of it.

    Args:
        meeting: of all ranks.
        gang: this rank's place in it.
        seconds: after which a rank counts as silent; each thing that a link does gets a third of it.

    Raises:
        SilentRanks: a rank is gone.
    """
    before, after = (gang.rank - 1) % gang.world_size, (gang.rank + 1) % gang.world_size
    patience = seconds / 3
    family = socket.getaddrinfo(gang.address, None, type=socket.SOCK_STREAM)[0][0]
    with contextlib.ExitStack() as open_sockets:
        server = open_sockets.enter_context(socket.create_server((gang.address, 0), family=family))
        server.settimeout(patience)
        addresses = meeting.gather(list(server.getsockname()[:2]), seconds)
        trouble = ""
        source = target = None
        try:
            target = open_sockets.enter_context(socket.create_connection(addresses[after], patience))
            target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            trouble = f"rank {gang.rank} cannot connect to rank {after}: {error}"
        with contextlib.suppress(OSError):
            source = open_sockets.enter_context(server.accept()[0])
            source.settimeout(patience)
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        troubles = meeting.gather(trouble, seconds)
        _, trip = _both(source, _answer, target, _ask)
        meeting.gather(None, seconds)
        rate, _ = _both(source, _receive, target, _send)
        trips = meeting.gather(trip, seconds)
    why = troubles[before] or ("" if rate else f"rank {gang.rank} waited for {patience:.0f} s")
    return Link(before, gang.rank, rate or 0.0, trips[before], why)


def _both(source: _Socket, serve: _Part, target: _Socket, act: _Part) -> tuple[float | None, float | None]:
    """Serve one link while acting on the other, and return what each of them says."""
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(_tried, serve, source)
        acted = _tried(act, target)
        return served.result(), acted


def _tried(part: _Part, connection: _Socket) -> float | None:
    if connection is not None:
        with contextlib.suppress(OSError):
            return part(connection)
    return None


def _ask(connection: socket.socket) -> float | None:
    """Return how many milliseconds a byte takes to come back."""
    trips = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        connection.sendall(b"?")
        if not connection.recv(1):
            return None
        trips.append(time.perf_counter() - began)
    return round(1000 * statistics.median(trips), 3)


def _answer(connection: socket.socket) -> None:
    for _ in range(_PINGS):
        if not connection.recv(1):
            return
        connection.sendall(b"!")


def _send(connection: socket.socket) -> None:
    chunk = memoryview(bytes(_CHUNK))
    until = time.perf_counter() + _STREAM_SECONDS
    while time.perf_counter() < until:
        connection.sendall(chunk)
    connection.shutdown(socket.SHUT_WR)


def _receive(connection: socket.socket) -> float | None:
    """Return GB/s from the warm-up's end to the last byte; None if nothing came."""
    buffer = memoryview(bytearray(_CHUNK))
    began = counted_from = time.perf_counter()
    size = first = 0
    while got := connection.recv_into(buffer):
        now = time.perf_counter()
        if now - began < _WARM_UP_SECONDS:
            counted_from = now
            first += got
        else:
            size += got
    if not size:  # the sender's machine was busy with other things for all of the rest
        size, counted_from = first, began
    return size / max(time.perf_counter() - counted_from, 1e-6) / 1e9 or None
