"""The supervisor's HTTP door: ``GET /status``, ``GET /healthz`` and the gang's ``POST /gang``.

A dozen lines of HTTP/1.0 by hand instead of ``http.server``: that one would take a third of the memory
that a supervisor may use, and three fixed requests of our own programs need none of it.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path

#: A peer that is slower than this, or sends more, is not one of ours.
_TIMEOUT_SECONDS = 5.0
_LIMIT = 1 << 16
#: Between two tries to have an end noticed.
_PAUSE_SECONDS = 0.1

#: ``(method, path) -> answer to a body``; the answer is JSON text.
Routes = dict[tuple[str, str], Callable[[bytes], str]]


class PortTakenError(OSError):
    """Another program listens at the supervisor's port; the message is one sentence for a person."""


class StatusServer(socketserver.ThreadingTCPServer):
    """Answers each request in a thread of its own, so that a stuck reader blocks nobody.

    Raises:
        PortTakenError: another program has the port.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, routes: Routes, *, limit: int = _LIMIT) -> None:
        self.routes = routes
        self.limit = limit  # of a body, in bytes
        dual = socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if dual else socket.AF_INET
        try:
            super().__init__(("", port), _Handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortTakenError(
                f"The supervisor cannot listen at port {port} ({error.strerror}): end the program that uses "
                "this port of the machine, or use a pool with another network."
            ) from error
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 60}, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        ending = threading.Thread(target=self.shutdown)
        ending.start()
        while ending.is_alive():  # it looks whether it shall end only when somebody comes
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.server_address[1]), 1.0).close()
            ending.join(_PAUSE_SECONDS)
        self.server_close()

    def server_bind(self) -> None:
        """Listen on IPv4 and IPv6, whichever the pod's network has."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def taken(path: Path) -> Callable[[bytes], str]:
    """Return the answer of rank 0 about what all ranks take; it is empty while rank 0 finds it out."""

    def answer(_: bytes) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return "{}"

    return answer


class _Handler(socketserver.StreamRequestHandler):
    timeout = _TIMEOUT_SECONDS
    server: StatusServer

    def handle(self) -> None:
        try:
            method, path, _ = self.rfile.readline(_LIMIT).decode("latin-1").split(" ", 2)
            length = 0
            while True:
                line = self.rfile.readline(_LIMIT).strip().lower()
                if not line:
                    break
                if line.startswith(b"content-length:"):
                    length = min(int(line.split(b":")[1]), self.server.limit)
            body = self.rfile.read(length)
            answer = self.server.routes.get((method, path.partition("?")[0]))
            if answer is None:
                self._send("404 Not Found", '{"message":"Ask for /status or /healthz."}')
            else:
                self._send("200 OK", answer(body))
        except (OSError, ValueError):
            return  # not HTTP, or the other side went away

    def _send(self, status: str, text: str) -> None:
        body = text.encode()
        head = f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)


def ask(host: str, port: int, method: str, path: str, body: str = "", timeout: float = 2.0) -> str:
    """Send one request to a supervisor and return the body of its answer.

    Raises:
        OSError: nobody answers there, or in time, or with anything but 200.
    """
    data = body.encode()
    head = f"{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection((host, port), timeout) as connection:
        connection.sendall(head.encode() + data)
        chunks = []
        while True:
            chunk = connection.recv(_LIMIT)
            if not chunk:
                break
            chunks.append(chunk)
    answer_head, _, answer = b"".join(chunks).partition(b"\r\n\r\n")
    if b" 200 " not in answer_head[:20]:
        raise OSError(f"{host}:{port}{path} answered {answer_head[:40]!r}.")
    return answer.decode()
