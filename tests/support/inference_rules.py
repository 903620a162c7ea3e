"""The rules of BatchInference: those that it shares with TrainingJob, said of its own fields, and its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.api_rules import (
    ALWAYS,
    ENDED,
    JOB_RULES,
    PARTS_OF_A_STARTED_JOB,
    Case,
    Changes,
    Transition,
)
from tests.support.api_rules import OPERATOR_RULES as OPERATOR_RULES_OF_OTHERS
from tests.support.manifests import ABSENT

KIND = "BatchInference"

#: Parts of a spec that are the same for all kinds of jobs.
_SAME = ("spec.env", "spec.volume", "spec.schedule", "spec.output.url")
_OF_THE_WHOLE = ("must name one of volumes", "cancel ends a run", "output.url must lie")
#: Where code is: a program there, the model here.
_CODE, _PYTHON = "spec.script.code", {"framework": "python", "entrypoint": "team.score:Scorer"}


def _shared(cases: tuple[Case, ...]) -> Iterator[Case]:
    """Return the cases of a TrainingJob whose rules hold here, too, with this kind's fields."""
    for case in cases:
        if case.where.startswith(_CODE):
            fields = {"script.code": "model.code"}
            where = case.where.replace("spec.script", "spec.model")
        elif case.where.startswith("spec.data.*"):
            fields = {"data.train": "input"}
            where = case.where.replace("spec.data.*", "spec.input")
        elif case.where.startswith(_SAME) or (
            case.where == "spec" and case.message.startswith(_OF_THE_WHOLE)
        ):
            fields, where = {}, case.where
        else:
            continue
        changes = (_renamed(it, fields) for it in (case.refused, case.accepted))
        yield Case(KIND, where, case.message, *changes)


def _renamed(changes: Changes, fields: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"model": _PYTHON} if "script.code" in fields else {}
    for path, value in changes.items():
        if path in ("xgboost", "script"):
            continue
        for old, new in fields.items():
            path = path.replace(old, new)
        found[path] = value
    return found


def _own(where: str, message: str, refused: Changes, accepted: Changes) -> Case:
    return Case(KIND, where, message, refused, accepted)


_FILES = {"parquet": ABSENT, "files": {"url": "s3://photos/new", "pattern": "**/*.jpg", "as": "bytes"}}


def _input(**fields: Any) -> dict[str, Any]:
    return {f"input.{name}": value for name, value in fields.items()}


INFERENCE_RULES = (
    *_shared(JOB_RULES),
    _own("spec.input", "what kind of source", _input(files=_FILES["files"]), _input(**_FILES)),
    _own("spec.input.files.url", "must be an absolute path", _input(**_FILES) | _input(files={"url": "a"}),
         _input(**_FILES)),
    _own("spec.input.files.url", "must not hold a user", _input(**_FILES)
         | _input(files={"url": "s3://key:secret@photos/new"}), _input(**_FILES)),
    *(
        _own("spec.input", "files have no columns", _input(**_FILES, **field), _input(**field))
        for field in (
            {"columns": ["a"]}, {"filter": "a > 1"}, {"limit": 5}, {"features": ["a"]}, {"partitionBy": "a"}
        )
    ),
    _own("spec.model", "url is missing", {"model": {"framework": "onnx"}}, {"model": _PYTHON}),
    _own("spec.model", "needs entrypoint", {"model": {"framework": "python"}}, {"model": _PYTHON}),
    _own("spec.model", "entrypoint is for framework python or pytorch", {"model.entrypoint": "a:b"},
         {"model.entrypoint": "a:b", "model.framework": "pytorch"}),
    _own("spec.model", "code is there for entrypoint", {"model.code": {"configMap": "code"}},
         {"model": {**_PYTHON, "code": {"configMap": "code"}}}),
    _own("spec.model.url", "must be an absolute path", {"model.url": "a/b"}, {"model.url": "s3://models/a"}),
    _own("spec.model.url", "must not hold a user", {"model.url": "s3://key:secret@models/a"},
         {"model.url": "https://models.test/a@1"}),
    _own("spec.output", "stands alone in keep", {"output.keep": ["a", "*"]}, {"output.keep": ["*"]}),
    _own("spec.output", "is the name of a column that is kept", {"output.keep": ["prediction"]},
         {"output.keep": ["prediction"], "output.predictionColumn": "delay"}),
    _own("spec", "shardRows is above", {"shardRows": 10, "output.maxRowsPerFile": 9},
         {"shardRows": 9, "output.maxRowsPerFile": 9}),
)  # fmt: skip

INFERENCE_OPERATOR_RULES = tuple(_shared(OPERATOR_RULES_OF_OTHERS))

_PARTS = {
    **{
        path: value
        for path, value in PARTS_OF_A_STARTED_JOB.items()
        if not path.startswith(("xgboost", "data", "checkpoint"))
    },
    "model.url": "/data/other",
    "input.parquet.url": "/data/other/*.parquet",
    "input.features": ["a"],
    "output.format": "csv",
    "batchRows": 5,
    "maxShardFailures": 1,
    "onError": "Null",
}
INFERENCE_TRANSITIONS = (
    Transition(
        KIND,
        "spec.computePool",
        "computePool cannot be changed",
        {},
        {"computePool": "other"},
        {**_PARTS, **ALWAYS},
    ),
    Transition(KIND, "", "The job has started", {"attempt": 1}, _PARTS, ALWAYS),
    Transition(KIND, "", "The job has ended", {"conditions": ENDED}, {**_PARTS, **ALWAYS}, {}),
)
