"""The least memory that binned rows take: a job that surely needs more ends before its rows are binned.

LightGBM keeps a byte for each value, but of columns that rarely differ from their most common value (as those
of a category in ones and zeros) several share one, and a rank cannot know how many before it has the sample.
There can be no fewer bytes in a row than values that are not the most common one of their column.
"""

from __future__ import annotations

import math

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from mlpools.train.trees.memory import WORKER_BYTES, too_large

#: Columns with as few bins take half a byte, or are told apart by less than their values.
_FEW_BINS = 16
#: Values that are told apart may lie in one bin with the most common one.
_IN_OTHER_BINS = 0.9
#: Label, here and in LightGBM, and the leaf's list of rows.
_ROW_BYTES = 16
#: Prediction, gradient and hessian.
_OUTPUT_BYTES = 16


def check(
    sample: npt.NDArray[np.float64],
    borders: lgb.Dataset,
    *,
    train_rows: int,
    other_rows: int,
    outputs: int,
    memory: int,
    nodes: int,
) -> None:
    """Refuse rows that cannot fit.

    Args:
        sample: of all rows, of shape (rows, features).
        borders: a data set with the bins of each feature.
        train_rows: of this rank.
        other_rows: of this rank's other sets.
        outputs: numbers that are predicted for each row.
        memory: bytes that the rank may use.
        nodes: of the job, for what to do.

    Raises:
        OutOfMemory: they need more.
    """
    rows, features = train_rows + other_rows, sample.shape[1]
    beside = WORKER_BYTES + train_rows * (_ROW_BYTES + _OUTPUT_BYTES * outputs)
    if beside + rows * features <= memory:
        return  # whatever the columns hold
    needed = beside + math.ceil(rows * values_of_a_row(sample, borders))
    if needed > memory:
        raise too_large(rows, features, needed, memory, nodes, "memory")


def values_of_a_row(sample: npt.NDArray[np.float64], borders: lgb.Dataset) -> float:
    """Return how many values of a row, on average, surely take a byte of their own."""
    several = [index for index in range(sample.shape[1]) if borders.feature_num_bin(index) > _FEW_BINS]
    return _IN_OTHER_BINS * sum(1 - _most_common(sample[:, index]) for index in several)


def _most_common(values: npt.NDArray[np.float64]) -> float:
    """Return the share of the most common value; NaN is one, too."""
    return float(np.unique(values, return_counts=True)[1].max() / len(values))
