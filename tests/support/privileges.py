"""What a test may do on this machine."""

from __future__ import annotations

import os

import pytest


def needs_root(what: str) -> pytest.MarkDecorator:
    """Return the mark of tests that make something that only root may make."""
    return pytest.mark.skipif(os.geteuid() != 0, reason=f"only root may make {what}")
