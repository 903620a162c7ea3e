"""Tests of what is handed to large libraries; collected only where those are installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["*.py"]


#: It and PyTorch's Triton each bring an LLVM, and a process with both may end at any import.
ALONE = Path(__file__).resolve().with_name("test_tensorflow.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """TensorFlow's tests run in a process of their own, if they are named."""
    others = any(Path(name.partition("::")[0]).resolve() != ALONE for name in config.args)
    return True if collection_path == ALONE and others else None


def pytest_report_header(config: pytest.Config) -> str:
    """Say how the tests that are left out are run."""
    return f"TensorFlow's tests run only by themselves: pytest {ALONE.relative_to(config.rootpath)}"


def pytest_configure(config: pytest.Config) -> None:
    """What libraries say to their own authors is no fault of ours."""
    for library in ("ray", "torch", "tensorflow", "datasets", "pyiceberg"):
        for category in ("DeprecationWarning", "FutureWarning", "ResourceWarning"):
            config.addinivalue_line("filterwarnings", rf"ignore::{category}:{library}(\..*)?")
