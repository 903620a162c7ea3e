"""Lays down a caller's data for ranks in other processes: as plans of files, rows in memory as new files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from mlpools.data import ArrowSource, DataConnector
from mlpools.data.counting import count
from mlpools.data.plan import Plan, resolve
from mlpools.data.sharding import shard
from mlpools.errors import DataNotReadable

#: Rows of the record batches of a laid down file, between which ranks of other numbers part it.
_BATCH_ROWS = 1 << 16


def plan_of(connector: DataConnector, folder: Path, parts: int, columns: Sequence[str] | None) -> Plan:
    """Return the plan of a connector's rows; what is not in files already is laid down as Arrow files.

    Args:
        connector: of files, whose own plan it is, or of a frame, a part of other data or a Ray Dataset.
        folder: for the files, one for each part; it will be made.
        parts: ranks that will read the rows, each one file.
        columns: that are needed; None for all.

    Raises:
        DataNotReadable: there are no rows, or a column is absent.
    """
    own = connector.plan
    if own is not None:
        return own
    table = connector.to_arrow(columns=columns).unify_dictionaries()
    if not table.num_rows:
        raise DataNotReadable("The data has no rows.")
    folder.mkdir(parents=True)
    for rank in range(parts):
        path = folder / f"{rank:05d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            for piece in shard([table.num_rows], rank, parts):
                writer.write_table(table.slice(piece.start, piece.rows), _BATCH_ROWS)
    return count(resolve(ArrowSource((str(folder),))))
