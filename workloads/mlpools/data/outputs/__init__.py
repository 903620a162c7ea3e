"""What a connector's rows become in other libraries; large ones have a module each, which imports them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mlpools.data import progress
from mlpools.data.ingestor import ArrowIngestor
from mlpools.data.iteration import Iteration


class Outputs(Iteration):
    """What the rows of a connector become."""

    @property
    def known_rows(self) -> int | None:
        """Number of rows, or None where something has to be read or run to know it."""
        if self._ranges is not None:
            return sum(part.rows for part in self._ranges)
        ingestor = self._ingestor
        if not isinstance(ingestor, ArrowIngestor) or (ingestor.plan and not ingestor.plan.counted):
            return None
        return self.num_rows

    def to_arrow(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows, or the first ``limit``, as one table."""
        tables, rows = [], 0
        known = self.known_rows
        total = known if known is None or limit is None else min(known, limit)
        for table in progress.watched(self.to_tables(columns), total):
            tables.append(table if limit is None else table.slice(0, limit - rows))
            rows += tables[-1].num_rows
            if limit is not None and rows >= limit:
                break
        if tables:
            return pa.concat_tables(tables)
        names = self.schema.names if columns is None else columns
        return pa.schema([self.schema.field(name) for name in names]).empty_table()

    def to_pandas(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> Any:
        """Return all rows, or the first ``limit``, as a ``pandas.DataFrame``."""
        # Gives Arrow's memory back column by column: rows are not in memory twice.
        return self.to_arrow(limit, columns=columns).to_pandas(self_destruct=True)

    def to_polars(self, limit: int | None = None, *, columns: Sequence[str] | None = None) -> Any:
        """Return all rows, or the first ``limit``, as a ``polars.DataFrame``."""
        import polars

        return polars.from_arrow(self.to_arrow(limit, columns=columns))

    def to_ray_dataset(self) -> Any:
        """Return a lazy ``ray.data.Dataset``: Ray's workers read the rows, each its own row groups.

        Files have to be where every node of the Ray cluster sees them.
        """
        own = getattr(self._ingestor, "to_ray_dataset", None)
        if own is not None and self._ranges is None:
            return own()
        from mlpools.data.outputs.ray import to_ray_dataset

        return to_ray_dataset(self._ingestor, self._ranges)
