"""What the docs say is in the images, and what holds between their lock files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import image_packages
from tools.image_packages import pinned

ROOT = Path(__file__).parents[3]
LOCKS = ROOT / "requirements"
#: What the page of the images promises by name.
PROMISED = [
    "torch",
    "torchvision",
    "torchmetrics",
    "lightning",
    "accelerate",
    "xgboost",
    "lightgbm",
    "catboost",
    "scikit-learn",
    "imbalanced-learn",
    "transformers",
    "sentence-transformers",
    "tokenizers",
    "datasets",
    "nltk",
    "scipy",
    "statsmodels",
    "prophet",
    "optuna",
    "bayesian-optimization",
    "shap",
    "matplotlib",
    "seaborn",
    "plotly",
    "tensorboard",
    "onnx",
    "onnxruntime",
    "skl2onnx",
    "safetensors",
]


def test_the_page_of_packages_is_up_to_date() -> None:
    assert (ROOT / image_packages.PAGE).read_text() == image_packages.page(LOCKS), "run `make lock`"


def test_a_version_with_a_condition_is_read_without_it() -> None:
    lock = "a==1.2 ; python_version < '3.12' \\\n    --hash=sha256:00\nb-c==2\n    # via a==1\n"
    assert pinned(lock) == {"a": "1.2", "b-c": "2"}


@pytest.fixture(scope="module")
def full() -> dict[str, str]:
    return pinned((LOCKS / "runtime-full.txt").read_text())


def test_the_full_image_has_what_its_page_promises(full: dict[str, str]) -> None:
    assert not set(PROMISED) - set(full)


def test_the_full_image_lies_on_the_other_one(full: dict[str, str]) -> None:
    """What is installed on top neither changes nor removes anything but XGBoost's build."""
    below = pinned((LOCKS / "runtime.txt").read_text())
    assert {name: version for name, version in below.items() if full.get(name) != version} == {
        "xgboost-cpu": full["xgboost"]
    }


def test_two_packages_do_not_bring_the_same_library(full: dict[str, str]) -> None:
    assert [name for name in full if name.startswith("nvidia-nccl")] == ["nvidia-nccl-cu13"]
