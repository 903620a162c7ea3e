"""Which image pods get."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.built import build, main
from tests.support.operator_sim import DEFAULTS

BOTH = replace(DEFAULTS, runtime_image="small", runtime_full_image="full")


@pytest.mark.parametrize(
    ("framework", "gpus", "image"),
    [
        ("xgboost", 0, "small"),
        ("lightgbm", 0, "small"),
        ("xgboost", 1, "full"),
        ("pytorch", 0, "full"),
        ("script", 0, "full"),
        ("", 0, "small"),
        ("", 8, "full"),
    ],
)
def test_pytorch_scripts_and_gpus_get_the_full_image(framework: str, gpus: int, image: str) -> None:
    assert BOTH.image(framework, gpus) == image


def test_without_a_full_image_all_get_the_other_one() -> None:
    assert replace(BOTH, runtime_full_image="").image("pytorch", 8) == "small"


def test_the_jobs_image_goes_before_the_pools_and_that_before_the_operators() -> None:
    gpu = {"instance": {"cpu": 1, "memory": "1Gi", "gpus": 1}}
    named = {**gpu, "runtime": {"image": "pools"}}
    assert main(build(pool=gpu, defaults=BOTH))["image"] == "full"
    assert main(build(pool=named, defaults=BOTH))["image"] == "pools"
    assert main(build({"runtime": {"image": "jobs"}}, pool=named, defaults=BOTH))["image"] == "jobs"
