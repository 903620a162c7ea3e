"""PyTorch programs over the nodes of a job, and what they find there.

A program needs nothing of this: it gets the environment that torchrun gives. With ``get_context`` it finds
its rows, checkpoints that survive a restart, and ways to the job's status and output. ``PyTorchDistributor``
runs a function in the same way from a notebook or a script.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlpools.train.pytorch.checkpoints import Checkpoints
from mlpools.train.pytorch.context import Context, get_context
from mlpools.train.pytorch.worker import run

if TYPE_CHECKING:
    from mlpools.train.pytorch.distributor import (
        PyTorchDistributor,
        PyTorchDistributorResult,
        PyTorchScalingConfig,
        WorkerResourceConfig,
    )

__all__ = [
    "Checkpoints",
    "Context",
    "PyTorchDistributor",
    "PyTorchDistributorResult",
    "PyTorchScalingConfig",
    "WorkerResourceConfig",
    "get_context",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import what only a caller of workers needs, not a worker, when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("mlpools.train.pytorch.distributor"), name)
