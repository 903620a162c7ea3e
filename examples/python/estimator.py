"""Train on files with two workers, from Python: ``python examples/python/estimator.py``.

On a laptop the workers are its processes; called in a Ray cluster, they are spread over its nodes, which must
all see the files then. The flights are made up, so that this runs anywhere.
"""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlpools.data import DataConnector
from mlpools.train import XGBEstimator, XGBScalingConfig


def flights(rows: int, seed: int) -> pa.Table:
    """Return made-up flights: who flew, how far, and how many minutes late they were."""
    rng = np.random.default_rng(seed)
    carrier = rng.choice(["AA", "DL", "UA"], rows)
    distance = rng.uniform(100, 3_000, rows)
    delay = distance / 200 + 9 * (carrier == "UA") + rng.normal(size=rows)
    return pa.table({"carrier": carrier, "distance": distance, "arr_delay": delay})


with tempfile.TemporaryDirectory() as name:
    for part in range(4):
        pq.write_table(flights(5_000, seed=part), Path(name) / f"{part}.parquet")
    train = DataConnector.from_parquet(f"{name}/*.parquet")
    held_out = flights(2_000, seed=9)

    estimator = XGBEstimator(50, params={"max_depth": 4}, scaling_config=XGBScalingConfig(num_workers=2))
    booster = estimator.fit(
        train,
        ["carrier", "distance"],
        "arr_delay",
        eval_set=held_out,
        verbose_eval=10,
        early_stopping_rounds=5,
    )
    curve = estimator.get_eval_results()["eval"]["rmse"]
    print(f"{booster.num_boosted_rounds()} rounds, the best with an rmse of {min(curve):.2f} minutes")
    print(estimator.predict(held_out).slice(0, 3).to_pandas())
