"""The specs that set every field, of all kinds, see ``every_field``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.every_field import JOBS, POOLS
from tests.support.every_field_of_inference import INFERENCES
from tests.support.every_field_of_notebooks import NOTEBOOKS

SPECS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "ComputePool": POOLS,
    "TrainingJob": JOBS,
    "BatchInference": INFERENCES,
    "NotebookRuntime": NOTEBOOKS,
}
