"""One good job from its creation to its end: what it costs, and what it leaves behind."""

from __future__ import annotations

import pytest

from tests.support.bench import Bench
from tests.support.kubelet import succeeded

pytestmark = pytest.mark.integration


def test_a_good_job_ends_succeeded(bench: Bench) -> None:
    operator = bench.operator().wait_ready()
    bench.submit("good", nodes=2)
    pods = bench.kubelet.pods("good", 1, 2)
    bench.kubelet.run(pods)
    bench.phase("good", "Running")
    bench.kubelet.finish(pods, succeeded())
    status = bench.phase("good", "Succeeded")["status"]
    assert status["attempt"] == 1
    assert status["restarts"] == 0
    assert status["metrics"] == {"eval-rmse": 17.9}
    assert operator.stop() == 0
