"""Data sets: immutable, named versions of data that notice when their bytes change."""

from __future__ import annotations

from mlpools.data.dataset.dataset import Dataset, DatasetReader, create_from_dataframe, load_dataset
from mlpools.data.dataset.source import DatasetSource
from mlpools.data.dataset.statistics import ColumnStatistics
from mlpools.data.dataset.version import DatasetVersion

__all__ = [
    "ColumnStatistics",
    "Dataset",
    "DatasetReader",
    "DatasetSource",
    "DatasetVersion",
    "create_from_dataframe",
    "load_dataset",
]
