"""The supervisor of a pod that a test plays: it answers the operator's question how far its work is."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer

from mlpools.contract.reports import Activity, Report
from mlpools.contract.wiring import STATUS_PORT


@dataclass
class Rank0:
    """What a test's pod answers.

    Attributes:
        address: that its pod has.
        value: the answer.
    """

    address: str
    value: Report | Activity


@contextmanager
def rank_0() -> Iterator[Rank0]:
    """Answer like a supervisor, on an address of the loopback that only this process uses."""
    high, low = divmod(os.getpid(), 256)
    rank = Rank0(f"127.{128 + high // 256 % 64}.{high % 256}.{low}", Report("Starting"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = rank.value.to_json().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Be quiet."""

    server = HTTPServer((rank.address, STATUS_PORT), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield rank
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
