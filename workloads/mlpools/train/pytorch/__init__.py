"""PyTorch programs over the nodes of a job, and what they find there.

A program needs nothing of this: it gets the environment that torchrun gives. With ``get_context`` it finds
its rows, checkpoints that survive a restart, and ways to the job's status and output.
"""

from __future__ import annotations

from mlpools.train.pytorch.checkpoints import Checkpoints
from mlpools.train.pytorch.context import Context, get_context
from mlpools.train.pytorch.worker import run

__all__ = ["Checkpoints", "Context", "get_context", "run"]
