"""The sources of the API and those of the runtime are the same: each field means something there."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest

from mlpools.data import formats
from mlpools.data.sources import KINDS, FileSource, from_spec
from mlpools_operator.api.v1alpha1 import parse
from mlpools_operator.api.v1alpha1.meta import camel
from mlpools_operator.api.v1alpha1.sources import SOURCES, DataSource
from tests.support.manifests import spec

#: A value of each option that is not its default.
OPTIONS: dict[str, dict[str, Any]] = {
    "parquet": {"pageChecksums": True},
    "csv": {
        "delimiter": ";",
        "quote": "'",
        "escape": "\\",
        "header": False,
        "columnNames": ["a", "b"],
        "skipLines": 2,
        "nullValues": ["-"],
        "types": {"a": "int32"},
        "timestampFormats": ["%d.%m.%Y"],
        "decimalPoint": ",",
        "encoding": "latin1",
        "newlinesInValues": True,
    },
    "json": {"types": {"a": "int32"}, "newlinesInValues": True},
    "arrow": {},
    "orc": {},
}
#: Options for tests of the reader itself.
INNER = {"unitBytes"}


def data(source: dict[str, Any]) -> dict[str, Any]:
    parsed = parse("TrainingJob", spec("TrainingJob", {"data.train": source})).data["train"]
    return dict(parsed.plain())


def test_both_know_the_same_kinds() -> None:
    assert set(KINDS) == {camel(name) for name in SOURCES}


@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_each_option_reaches_the_format(kind: str) -> None:
    given = {kind: {"url": "s3://bucket/a", **({"options": OPTIONS[kind]} if OPTIONS[kind] else {})}}
    chosen = {"columns": ["a"], "filter": "a > 1", "limit": 10}
    source = from_spec("train", data({**given, **chosen}))
    assert isinstance(source, FileSource)
    assert (source.columns, source.filter, source.limit) == (("a",), "a > 1", 10)
    made = formats.make(kind, source.options)
    standard = formats.make(kind, {})
    changed = {
        camel(field.name)
        for field in dataclasses.fields(made)
        if getattr(made, field.name) != getattr(standard, field.name)
    }
    assert changed == set(OPTIONS[kind])
    assert {camel(field.name) for field in dataclasses.fields(made)} - INNER == set(OPTIONS[kind])


def test_no_option_of_the_api_was_forgotten_here() -> None:
    for name in SOURCES:
        model = next(
            it for it in typing.get_args(DataSource.model_fields[name].annotation) if it is not type(None)
        )
        options = model.model_fields.get("options")
        fields = typing.get_args(options.annotation)[0].model_fields if options else {}
        assert {camel(field) for field in fields} == set(OPTIONS.get(camel(name), {}))


@pytest.mark.parametrize(
    ("source", "attributes"),
    [
        ({"delta": {"url": "/lake/a", "version": 0}}, {"url": "/lake/a", "version": 0, "timestamp": ""}),
        (
            {"delta": {"url": "/lake/a", "timestamp": "2026-05-01T00:00:00Z"}},
            {"version": None, "timestamp": "2026-05-01T00:00:00Z"},
        ),
        (
            {"iceberg": {"catalog": "prod", "table": "sales.orders", "snapshot": 4711}},
            {"catalog": "prod", "table": "sales.orders", "snapshot": 4711},
        ),
        ({"iceberg": {"catalog": "prod", "table": "sales.orders"}}, {"snapshot": None}),
        (
            {"sql": {"connectionSecret": "db", "query": "SELECT 1", "partitionOn": "id"}},
            {"query": "SELECT 1", "partition_on": "id"},
        ),
    ],
)
def test_fields_of_tables_reach_the_reader(source: dict[str, Any], attributes: dict[str, Any]) -> None:
    made = from_spec("train", data(source))
    assert {name: getattr(made, name) for name in attributes} == attributes
