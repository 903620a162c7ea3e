"""From files to batches, on a laptop: ``python batches.py [FOLDER]``.

Reads the Parquet files of a folder; without one it writes a few itself first.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlpools.data import DataConnector, ShardedDataConnector
from mlpools.gang import Gang


def write_some(folder: Path) -> None:
    """Write 40,000 rows to four files."""
    random = np.random.default_rng(0)
    for part in range(4):
        rows = {
            "carrier": random.choice(["AA", "DL", "UA"], 10_000),
            "distance": random.integers(100, 3_000, 10_000),
            "delay": random.normal(5, 30, 10_000).astype(np.float32),
        }
        pq.write_table(pa.table(rows), folder / f"part-{part}.parquet", row_group_size=2_500)


def main(folder: str) -> None:
    """Show what there is, its batches, a part of it, and how two ranks would share it."""
    connector = DataConnector.from_parquet(folder)
    print(connector)

    for epoch in range(2):
        batches = [batch.num_rows for batch in connector.to_batches(4_096, shuffle=True)]
        print(f"epoch {epoch}: {len(batches)} batches, {sum(batches):,} rows")

    far = DataConnector.from_parquet(folder, columns=["delay"], filter="distance > 2500")
    print(f"mean delay of {far.num_rows:,} long flights: {far.to_pandas()['delay'].mean():.1f} minutes")

    sharded = ShardedDataConnector.from_parquet(folder)
    for rank in range(2):
        print(f"rank {rank} of 2 reads {sharded.get_shard(Gang(rank, 2)).num_rows:,} rows")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as made:
            write_some(Path(made))
            main(made)
