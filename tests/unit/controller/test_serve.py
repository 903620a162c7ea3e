from __future__ import annotations

import socket

import aiohttp
import pytest

from mlpools_operator.controller.health import Health
from mlpools_operator.controller.serve import PortError, serving
from mlpools_operator.metrics import Metrics


def health() -> Health:
    return Health(lambda: 0, lambda: 0.0, lambda: 0.0)


async def test_probes_and_figures_are_answered() -> None:
    signs, metrics = health(), Metrics()
    metrics.passes.labels("TrainingJob", "done").inc()
    async with serving(0, signs, metrics) as port, aiohttp.ClientSession() as session:

        async def get(path: str, host: str = "127.0.0.1") -> tuple[int, str]:
            async with session.get(f"http://{host}:{port}{path}") as answer:
                return answer.status, await answer.text()

        assert await get("/healthz") == (200, "ok\n")
        assert await get("/readyz") == (503, "The lists of existing objects are not complete yet.\n")
        signs.synced()
        assert await get("/readyz") == (200, "ok\n")
        code, text = await get("/metrics")
        assert code == 200
        assert 'mlpools_passes_total{kind="TrainingJob",outcome="done"} 1.0' in text
        if socket.has_dualstack_ipv6():
            assert await get("/healthz", "[::1]") == (200, "ok\n")


async def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=f"Port {port} cannot be opened: .*Set MLPOOLS_HTTP_PORT"):
            async with serving(port, health(), Metrics()):
                pass
