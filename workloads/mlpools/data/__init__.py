"""Data connectors: from files and tables to batches and shards, without a copy too many."""

from __future__ import annotations

from mlpools.data.connector import DataConnector, ShardedDataConnector
from mlpools.data.sources import ArrowSource, DataSource, ParquetSource

__all__ = ["ArrowSource", "DataConnector", "DataSource", "ParquetSource", "ShardedDataConnector"]
