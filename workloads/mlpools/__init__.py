"""mlpools: data connectors, distributed training and batch inference, in a pod, a notebook or on a laptop."""

__version__ = "0.1.0"
