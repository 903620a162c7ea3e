"""A follower of a gang, and how it reaches rank 0."""

from __future__ import annotations

import queue
import socket
import threading
from typing import Any

import pytest

from mlpools.supervisor import gang
from mlpools.supervisor.gang import Follower, Leader
from mlpools.supervisor.roll import Beat, Verdict
from mlpools.supervisor.status import StatusServer
from tests.support.pods import free_ports


def test_a_follower_notices_a_loss_though_names_are_not_answered_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pod without a network has no DNS either, which it would wait for longer than for rank 0."""
    monkeypatch.setattr(gang, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(gang, "LOST_SECONDS", 0.5)
    real, cut = socket.getaddrinfo, threading.Event()

    def resolve(host: str, *rest: Any, **more: Any) -> Any:
        if host != "rank-0.job":
            return real(host, *rest, **more)
        if cut.is_set():
            threading.Event().wait()
        return real("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    [port] = free_ports(1)
    leader = Leader(Beat("u", 1, 0), 2, lambda _: None)
    StatusServer(port, {("POST", "/gang"): lambda body: "" if cut.is_set() else leader.answer(body)})
    heard: queue.SimpleQueue[Verdict] = queue.SimpleQueue()
    Follower(Beat("u", 1, 1), 2, "rank-0.job", port, heard.put)
    assert heard.get(timeout=20).formed
    cut.set()
    assert heard.get(timeout=20).lost.startswith("Rank 0 has not been heard for ")
