"""The supervisor's door."""

from __future__ import annotations

import threading

from mlpools.supervisor.status import StatusServer, ask
from tests.support.pods import free_ports


def test_a_door_that_is_closed_leaves_neither_its_port_nor_a_thread() -> None:
    [port] = free_ports(1)
    before = set(threading.enumerate())
    for answer in ("first", "second"):
        door = StatusServer(port, {("GET", "/status"): lambda _, answer=answer: answer})  # type: ignore[misc]
        assert ask("127.0.0.1", port, "GET", "/status") == answer
        door.close()
        serving = [it for it in set(threading.enumerate()) - before if "serve_forever" in it.name]
        assert serving == []
