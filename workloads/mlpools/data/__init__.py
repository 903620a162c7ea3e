"""Data connectors: from files and tables to batches and shards, without a copy too many."""

from __future__ import annotations

from mlpools.data.connector import DataConnector
from mlpools.data.dataset import Dataset
from mlpools.data.ingestor import ArrowIngestor, DataIngestor
from mlpools.data.sharded import ShardedDataConnector
from mlpools.data.sources import (
    ArrowSource,
    CsvSource,
    DataSource,
    JsonSource,
    MemorySource,
    OrcSource,
    ParquetSource,
)
from mlpools.data.writers.shards import generate_shards

__all__ = [
    "ArrowIngestor",
    "ArrowSource",
    "CsvSource",
    "DataConnector",
    "DataIngestor",
    "DataSource",
    "Dataset",
    "JsonSource",
    "MemorySource",
    "OrcSource",
    "ParquetSource",
    "ShardedDataConnector",
    "generate_shards",
]
