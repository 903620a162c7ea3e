"""Whether to train on a GPU."""

from __future__ import annotations

from mlpools.errors import InvalidSpec


def choose(asked: str, *, gpus: int, workers: int, built_for_gpus: bool) -> str:
    """Return XGBoost's parameter ``device``.

    Each worker sees one GPU, so it is always the first one.

    Args:
        asked: by the user, empty for what fits.
        gpus: of a node.
        workers: of a node.
        built_for_gpus: whether the installed XGBoost can use them.

    Raises:
        InvalidSpec: there are GPUs, and they cannot be used.
    """
    if not gpus or asked == "cpu":
        return asked or "cpu"
    if workers > gpus:
        raise InvalidSpec(
            f"workersPerNode is {workers}, but a node has {gpus} GPU(s) and each worker of XGBoost drives "
            f"one: set it to {gpus} or less, or leave it out."
        )
    if not built_for_gpus:
        raise InvalidSpec(
            "The nodes have GPUs, but this image's XGBoost is built without CUDA: use an image with the "
            "package xgboost instead of xgboost-cpu, or a pool without GPUs."
        )
    return asked or "cuda"
