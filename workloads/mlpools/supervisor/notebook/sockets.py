"""The TCP connections of the container, with the bytes that each has carried.

``/proc/net/tcp`` has no such numbers, so the kernel is asked by netlink (``sock_diag(7)``,
``linux/inet_diag.h``): that needs no right, and shows the connections of this network namespace only.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_ESTABLISHED = 1
_INFO = 2  # INET_DIAG_INFO, a struct tcp_info
_HEADER = struct.Struct("=IHHII")
_QUERY = struct.Struct("=BBBBI48s")
#: family, state, timer, retransmits; ports; addresses; interface and cookie; expires, queues, uid, inode.
_MESSAGE = struct.Struct("=BBBB HH 16s16s 12s IIIII".replace(" ", ""))
_ATTRIBUTE = struct.Struct("=HH")
#: In struct tcp_info (linux/tcp.h): bytes_acked, bytes_received.
_BYTES = struct.Struct("=QQ")
_BYTES_AT = 120
_TIMEOUT_SECONDS = 2.0


class Connection(NamedTuple):
    """One established connection.

    Attributes:
        inode: by which it is told from others.
        port: of this end.
        local: both ends are here.
        sent: bytes that the other end has taken.
        received: bytes that came from there.
        peer: address of the other end.
    """

    inode: int
    port: int
    local: bool
    sent: int
    received: int
    peer: str = ""


def connections() -> list[Connection]:
    """Return all established connections.

    Raises:
        OSError: the kernel does not tell.
    """
    found: list[Connection] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as asked:
            asked.settimeout(_TIMEOUT_SECONDS)
            query = _QUERY.pack(family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, 1 << _ESTABLISHED, b"")
            asked.send(_HEADER.pack(_HEADER.size + len(query), _BY_FAMILY, _REQUEST | _DUMP, 1, 0) + query)
            found += _answers(asked)
    return found


def listens(port: int) -> bool:
    """Whether a program of the container takes connections at a port."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False


def _answers(asked: socket.socket) -> Iterator[Connection]:
    while True:
        data = asked.recv(1 << 16)
        while len(data) >= _HEADER.size:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError("the kernel does not tell of connections")
            yield _connection(data[_HEADER.size : length])
            data = data[(length + 3) & ~3 :]


def _connection(body: bytes) -> Connection:
    fields = _MESSAGE.unpack_from(body)
    # Ports are the one thing in network order.
    port, there, here = socket.ntohs(fields[4]), fields[7], fields[6]
    sent, received = _carried(body[_MESSAGE.size :])
    loopback = here == there or here[:1] == b"\x7f" or here[10:13] == b"\xff\xff\x7f"
    return Connection(fields[-1], port, loopback, sent, received, _address(fields[0], there))


def _address(family: int, packed: bytes) -> str:
    """Return an address as people write it; one of IPv4 that is wrapped in IPv6 is unwrapped."""
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, packed[:4])
    if packed[:12] == bytes(10) + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def _carried(attributes: bytes) -> tuple[int, int]:
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        value = attributes[_ATTRIBUTE.size : length]
        if kind == _INFO and len(value) >= _BYTES_AT + _BYTES.size:
            acked, received = _BYTES.unpack_from(value, _BYTES_AT)
            return acked, received
        attributes = attributes[max(_ATTRIBUTE.size, (length + 3) & ~3) :]
    return 0, 0
