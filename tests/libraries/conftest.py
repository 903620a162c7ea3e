"""Tests of what is handed to large libraries; collected only where those are installed."""

from __future__ import annotations

import importlib
import importlib.util

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """What libraries say to their own authors is no fault of ours."""
    if importlib.util.find_spec("triton"):
        # It and TensorFlow each bring an LLVM, and the process ends if this one comes second.
        importlib.import_module("triton")
    for library in ("ray", "torch", "tensorflow", "datasets", "pyiceberg"):
        for category in ("DeprecationWarning", "FutureWarning", "ResourceWarning"):
            config.addinivalue_line("filterwarnings", rf"ignore::{category}:{library}(\..*)?")
