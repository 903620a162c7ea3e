from __future__ import annotations

import pytest

from mlpools.errors import InvalidSpec
from mlpools.train.xgboost.device import choose
from mlpools.train.xgboost.parameters import Parameters
from tests.support.flights import spec


@pytest.mark.parametrize(
    ("asked", "gpus", "workers", "built_for_gpus", "device"),
    [
        ("", 0, 1, False, "cpu"),
        ("", 0, 1, True, "cpu"),
        ("", 4, 4, True, "cuda"),
        ("", 4, 2, True, "cuda"),
        ("cpu", 4, 8, False, "cpu"),
        ("cuda", 0, 1, False, "cuda"),  # what is there, the rehearsal finds out
    ],
)
def test_gpus_are_used_where_there_are_some(
    asked: str, gpus: int, workers: int, built_for_gpus: bool, device: str
) -> None:
    assert choose(asked, gpus=gpus, workers=workers, built_for_gpus=built_for_gpus) == device


def test_gpus_that_cannot_be_used_are_said() -> None:
    with pytest.raises(InvalidSpec, match=r"built without CUDA: use an image with the package xgboost"):
        choose("", gpus=2, workers=2, built_for_gpus=False)
    with pytest.raises(InvalidSpec, match=r"workersPerNode is 3, but a node has 2 GPU\(s\)"):
        choose("", gpus=2, workers=3, built_for_gpus=True)


def test_a_checkpoint_fits_to_cpus_and_gpus() -> None:
    on_gpu = Parameters.from_spec(spec(), threads=2, device="cuda")
    assert on_gpu.booster["device"] == "cuda"
    assert on_gpu.identity == Parameters.from_spec(spec(), threads=8).identity
