"""All rows of the benchmark's data, from the connector into the matrices that boosting libraries train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.higgs import FEATURES, LABEL


def xgboost(folder: Path) -> None:
    """Bin all rows as a training job does."""
    from mlpools.data import DataConnector
    from mlpools.data.choosing import choose
    from mlpools.data.shard import ShardRows
    from mlpools.train.xgboost import matrix
    from mlpools.train.xgboost.parameters import Parameters

    connector = DataConnector.from_parquet(str(folder), cache=False)
    columns = choose({"train": connector.schema}, label=LABEL)
    rows = ShardRows(connector, columns.all, keep=False, alive=lambda: None)
    spec = {"rounds": 1, "label": LABEL, "objective": "binary:logistic", "params": {}}
    settings = Parameters.from_spec(spec, threads=2)
    batches = matrix.Batches(rows, columns, settings, "train")
    assert matrix.build(batches, settings, None).num_row() == connector.num_rows


def lightgbm(folder: Path) -> None:
    """Bin all rows, handed over as Arrow's tables."""
    import lightgbm

    from mlpools.data import DataConnector

    table = DataConnector.from_parquet(str(folder), cache=False).to_arrow()
    label = table.column(LABEL)
    data = lightgbm.Dataset(table.select(FEATURES), label=label, params={"verbosity": -1, "num_threads": 2})
    assert data.construct().num_data() == table.num_rows


TREES: dict[str, Callable[[Path], None]] = {"XGBoost": xgboost, "LightGBM": lightgbm}
