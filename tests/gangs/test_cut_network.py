"""A host loses its network in the middle of training: no connection is closed, and nothing ever answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cut_network import Trial
from tests.support.flights import spec, write_flights
from tests.support.hosts import needs_hosts


@needs_hosts
@pytest.mark.full
@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize(
    ("framework", "section", "model"),
    [
        ("xgboost", spec(), "model.ubj"),
        (
            "lightgbm",
            {"objective": "regression", "label": "arr_delay", "params": {"num_leaves": 7}},
            "model.txt",
        ),
    ],
    ids=["xgboost", "lightgbm"],
)
def test_a_cut_network_ends_both_sides_and_costs_the_model_nothing(
    framework: str, section: dict[str, object], model: str, lost: int, tmp_path: Path
) -> None:
    """Of three ranks, so that one is left which hears of the loss from rank 0, or loses that one itself."""
    data = write_flights(tmp_path / "flights", 1_000)

    def fields(steps: int) -> dict[str, object]:
        return {"framework": framework, "spec": {**section, "rounds": steps}, "data": data}

    Trial(tmp_path, 3, fields, model).check_a_cut(lost)
