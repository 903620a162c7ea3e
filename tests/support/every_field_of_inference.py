"""Specs that together set every field of a BatchInference, see ``every_field``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.every_field import CODE_URL, GIT, JOBS

#: Of a TrainingJob, and what all kinds of jobs have in common.
_EVERYTHING, _CSV, _SOURCES = JOBS["xgboost"], JOBS["lightgbm"], JOBS["module"]["data"]
_COMMON = (
    "nodes",
    "workersPerNode",
    "priority",
    "suspend",
    "cancel",
    "maxRestarts",
    "restartBackoffSeconds",
    "activeDeadlineSeconds",
    "startTimeoutSeconds",
    "hangTimeoutSeconds",
    "terminationGracePeriodSeconds",
    "ttlSecondsAfterFinished",
    "env",
    "envFrom",
    "volumes",
    "volumeMounts",
    "serviceAccountName",
    "securityContext",
    "runtime",
)
_SCORER = {"framework": "python", "entrypoint": "team.score:Scorer"}


def _from(source: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"input": {**source, **more}}


INFERENCES: Mapping[str, Mapping[str, Any]] = {
    "parquet": {
        **{name: _EVERYTHING[name] for name in _COMMON},
        "model": {
            "url": "file:///data/model",
            "framework": "sklearn",
            "device": "cpu",
            "params": {"trusted": ["team.Scaler"]},
        },
        "input": {**_EVERYTHING["data"]["train"], "features": ["a", "b"], "partitionBy": "g"},
        "output": {
            "url": "file:///data/predictions",
            "mode": "Overwrite",
            "format": "csv",
            "keep": ["a"],
            "predictionColumn": "delay",
            "maxRowsPerFile": 1000,
        },
        "batchRows": 100,
        "shardRows": 500,
        "maxShardFailures": 2,
        "onError": "Null",
    },
    "scheduled": {"schedule": JOBS["excluded"]["schedule"]},
    "files": {
        **_from({"files": {"url": "file:///data/photos", "pattern": "**/*.jpg", "as": "bytes"}}),
        "model": {**_SCORER, "code": CODE_URL},
    },
    "csv": _from(_CSV["data"]["train"]),
    "one-csv": _from(_CSV["data"]["eval"]) | {"model": {**_SCORER, "code": {"configMap": "code"}}},
    "json": _from(_SOURCES["a"]),
    "one-json": _from(_SOURCES["b"]) | {"model": {**_SCORER, "code": {"git": GIT}}},
    "one-parquet": {"output.keep": ["*"]},
    "orc": _from(JOBS["excluded"]["data"]["train"]),
    "one-orc": _from(JOBS["excluded"]["data"]["eval"]),
    "arrow": _from(JOBS["lightgbm-excluded"]["data"]["train"]),
    "one-arrow": _from(JOBS["lightgbm-excluded"]["data"]["eval"]),
    **{
        name: _from(_SOURCES[letter])
        for name, letter in zip(("delta", "delta-then", "iceberg", "sql", "dataset"), "cdefg", strict=True)
    },
}
