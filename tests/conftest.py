"""What several folders of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tools.cluster.controlplane import ControlPlane

# How long an example takes, or the making of one, says nothing: the machine may be busy with other tests.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real API server with the controllers and without nodes: Jobs make pods, and none of them runs."""
    control = ControlPlane(tmp_path_factory.mktemp("control-plane"), controller_manager=True, audit=True)
    control.start()
    yield control
    control.stop()
