from __future__ import annotations

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mlpools_operator.cluster import connect
from mlpools_operator.cluster.errors import Fenced
from mlpools_operator.cluster.transport import APPLY, JSON, MERGE, Request, Transport
from mlpools_operator.metrics import Metrics

READ = Request("get", "pods", "/pods/a")
WRITES = [Request(verb, "pods", "/pods/a", body={}) for verb in ("create", "update", "patch", "delete")]


class Server(HTTPServer):
    """Answers everything, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.bodies: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Fence:
    open = True

    def __call__(self) -> bool:
        return self.open


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fence() -> Fence:
    return Fence()


@pytest.fixture
async def transport(
    server: Server, fence: Fence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Transport]:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    transport = Transport(Metrics(), threads=1, may_write=fence)
    yield transport
    transport.close()


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.verb)
async def test_a_write_behind_the_fence_is_not_sent(
    transport: Transport, server: Server, fence: Fence, write: Request
) -> None:
    fence.open = False
    with pytest.raises(Fenced, match=f"{write.verb} /pods/a was not sent"):
        await transport.send(write)
    assert server.asked == []
    fence.open = True
    await transport.send(write)
    assert len(server.asked) == 1


async def test_the_api_server_is_told_how_long_a_write_may_take(transport: Transport, server: Server) -> None:
    for write in WRITES:
        await transport.send(write)
    assert [asked.partition("?")[2] for asked in server.asked] == ["timeout=3s"] * 4


async def test_the_kernel_delivers_nothing_late(transport: Transport) -> None:
    options = connect.open_client(1).configuration.socket_options
    assert (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3000) in options


async def test_reads_need_no_lease(transport: Transport, server: Server, fence: Fence) -> None:
    fence.open = False
    await transport.send(READ)
    assert server.asked == ["GET /pods/a"]


@pytest.mark.parametrize("form", [JSON, APPLY, MERGE])
async def test_a_body_is_sent_as_the_object_that_it_is(
    transport: Transport, server: Server, form: str
) -> None:
    await transport.send(
        Request("patch", "jobs", "/jobs/a", body={"spec": {"parallelism": 3}}, content_type=form)
    )
    assert [json.loads(body) for body in server.bodies] == [{"spec": {"parallelism": 3}}]
