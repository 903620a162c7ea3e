"""Programs of whatever kind over the nodes of a job. Standard library only: they run in any image."""

from __future__ import annotations

from mlpools.train.script.worker import run

__all__ = ["run"]
