"""Predictions by the workers of a Ray cluster, each for a part of the rows."""

from __future__ import annotations

import pyarrow as pa
import ray

from mlpools.data import DataConnector, ShardedDataConnector
from mlpools.gang import Gang
from mlpools.train.estimators.predicting import Predictor, predicted
from mlpools.train.launchers import ray_cluster


def predicted_parts(connector: DataConnector, predictor: Predictor, column: str) -> list[pa.Table]:
    """Return all rows with their predictions, in order.

    A part that was lost with its node is predicted again by another one.
    """
    workers = sum(int(node.has.get("CPU", 0)) for node in ray_cluster.nodes()) or 1
    shared = ray.put((connector, predictor))
    task = ray.remote(_part)
    parts: list[pa.Table] = ray.get([task.remote(shared, rank, workers, column) for rank in range(workers)])
    return parts


def _part(shared: tuple[DataConnector, Predictor], rank: int, workers: int, column: str) -> pa.Table:
    connector, predictor = shared
    part = ShardedDataConnector(connector._ingestor).get_shard(Gang(rank, workers))
    return pa.concat_tables(predicted(part, predictor, column))
