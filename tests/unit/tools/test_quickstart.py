"""A cluster of the user's own gets images only from where the user says."""

from __future__ import annotations

import pytest

from tools import images
from tools.quickstart.__main__ import existing_cluster
from tools.steps import ToolError


def test_no_registry_is_guessed() -> None:
    with pytest.raises(ToolError, match=r"make run CONTEXT=kind-a REGISTRY=\S+"):
        existing_cluster("kind-a", "")


def test_images_have_the_names_that_the_readme_pushes() -> None:
    _, references = existing_cluster("kind-a", "registry.example.com/ml")
    assert references == {
        target: f"registry.example.com/ml/mlpools-{target}:{images.version()}"
        for target in ("operator", "runtime")
    }
