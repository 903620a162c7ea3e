"""mlpools: data connectors, distributed training and batch inference, in a pod, a notebook or on a laptop."""

from __future__ import annotations

from mlpools.reporting import report

__version__ = "0.1.0"
__all__ = ["__version__", "report"]
