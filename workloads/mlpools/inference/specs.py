"""What a caller of ``run_batch`` may choose, beside the model and the output."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import Literal

from mlpools.errors import InvalidSpec
from mlpools.inference.settings import OnError


class SaveMode(enum.StrEnum):
    """What to do about a result that is there; the values are those of a manifest's ``output.mode``."""

    ERROR = "Error"
    OVERWRITE = "Overwrite"
    RESUME = "Resume"


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What of the rows the model gets.

    Attributes:
        features: columns, in this order; empty: those that it was trained with, and if it does not know them,
            all.
        partition_column: its equal values go to the model in one call; empty: any rows do.
        batch_format: of what a Python function is given; None: a frame of pandas.
    """

    features: Sequence[str] = ()
    partition_column: str = ""
    batch_format: Literal["pandas", "arrow", "numpy", "polars"] | None = None


@dataclasses.dataclass(frozen=True)
class InferenceSpec:
    """How it goes about it; None: found out by itself.

    Attributes:
        num_workers: processes, each with a copy of the model. Absent: one, of a Ray cluster one on each node,
            or one for each of its GPUs.
        max_batch_rows: rows of one call of the model.
        shard_rows: rows that a worker takes at once, and that become one file.
        max_shard_failures: shards that may fail for good.
        on_error: if the model raises an error for a row: ``FailShard`` writes no row of its shard, ``Null``
            writes the row without a prediction, and its error into the column ``_error``.
    """

    num_workers: int | None = None
    max_batch_rows: int | None = None
    shard_rows: int | None = None
    max_shard_failures: int = 0
    on_error: OnError = "FailShard"


@dataclasses.dataclass(frozen=True)
class ResourcesSpec:
    """What each worker has.

    Attributes:
        cpu_requests: CPUs. Absent: its share of this machine, or of its node.
        gpu_requests: 1 gives each worker a GPU of its own; 0, the default, predicts on CPUs.
    """

    cpu_requests: int | None = None
    gpu_requests: int = 0

    def __post_init__(self) -> None:
        if self.gpu_requests not in (0, 1):
            raise InvalidSpec(f"gpu_requests must be 0 or 1, not {self.gpu_requests}: a worker uses one GPU.")
