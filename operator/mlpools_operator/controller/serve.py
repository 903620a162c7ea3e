"""The operator's own HTTP port: ``/healthz``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from mlpools_operator.controller.health import Health
from mlpools_operator.metrics import CONTENT_TYPE, Metrics


class PortError(Exception):
    """The port cannot be had; the message says what to do."""


@asynccontextmanager
async def serving(port: int, health: Health, metrics: Metrics) -> AsyncIterator[int]:
    """Serve while the block runs; yield the port, which is a free one for 0.

    Raises:
        PortError: the port cannot be had.
    """

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/healthz", _check(health.not_alive))
    app.router.add_get("/readyz", _check(health.not_ready))
    app.router.add_get("/metrics", figures)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        listener = _listen(port)
        await web.SockSite(runner, listener).start()
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()


def _listen(port: int) -> socket.socket:
    """Return one socket for both kinds of addresses, where the machine has both."""
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise PortError(
            f"Port {port} cannot be opened: {error.strerror}. Set MLPOOLS_HTTP_PORT to a free one."
        ) from error


def _check(problem: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        reason = problem()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    return answer
