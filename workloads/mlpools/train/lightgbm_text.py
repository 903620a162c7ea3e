"""The text in which LightGBM keeps a model, as we write it.

* What is of one attempt only is taken out: addresses, ports, threads. Equal trainings give equal bytes.
* It has the rounds up to the best one and no more, as LightGBM's own ``save_model`` does, so every reader
  predicts with those.
* ``pandas_categorical`` holds the lists of categories, by which LightGBM itself maps the categorical columns
  of a pandas frame; the line ``mlpools_columns:`` holds the whole data contract, and ``mlpools_data:`` the
  fingerprints. LightGBM skips both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import lightgbm as lgb

from mlpools.data.columns import Columns

_OF_ONE_ATTEMPT = (
    "machines",
    "machine_list_filename",
    "num_machines",
    "local_listen_port",
    "time_out",
    "num_threads",
)
_LINES = re.compile(rf"^\[(?:{'|'.join(_OF_ONE_ATTEMPT)}): .*\]\n", re.MULTILINE)
_END = "end of parameters\n"
_COLUMNS = "mlpools_columns:"
_DATA = "mlpools_data:"
_PANDAS = "pandas_categorical:"


def text(booster: lgb.Booster, rounds: int = -1) -> str:
    """Return a model without what is of one attempt only.

    Args:
        booster: the model.
        rounds: how many of its rounds; -1 = all.
    """
    return _LINES.sub("", booster.model_to_string(num_iteration=rounds))


def described(model: str, columns: Columns, fingerprint: Mapping[str, str]) -> str:
    """Return a model with the data contract and the fingerprints of its data."""
    head, _, tail = model.partition(_END)
    body, _, _ = tail.rpartition(_PANDAS)
    lists = [list(columns.categories[name]) for name in columns.categorical]
    return (
        f"{head}{_END}{_COLUMNS}{columns.to_json()}\n{_DATA}{json.dumps(dict(fingerprint), sort_keys=True)}\n"
        f"{body}{_PANDAS}{json.dumps(lists) if lists else 'null'}\n"
    )


def columns_of(model: str) -> Columns | None:
    """Return the data contract that a model's text holds; None of a model that is not ours."""
    found = re.search(rf"^{_COLUMNS}(.*)$", model, re.MULTILINE)
    return Columns.from_json(found[1]) if found else None
