"""The specs that set every field: none is missing, and the models give back each as it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import KINDS, parse
from mlpools_operator.crdgen.crd import object_schema
from tests.support.all_specs import SPECS
from tests.support.every_field import contains
from tests.support.manifests import spec

#: How the description of a property begins that is declared to be refused by a rule.
REFUSED = "Not taken here"


def missing(schema: Mapping[str, Any], values: Sequence[Any], path: str) -> Iterator[str]:
    """Yield the fields that none of the values sets."""
    for name, child in schema.get("properties", {}).items():
        if not child.get("description", "").startswith(REFUSED):
            yield from _missing(child, [it[name] for it in values if name in it], f"{path}.{name}")
    if "items" in schema:
        yield from _missing(schema["items"], [entry for it in values for entry in it], f"{path}[]")
    if "additionalProperties" in schema:
        inside = [entry for it in values for entry in it.values()]
        yield from _missing(schema["additionalProperties"], inside, f"{path}.*")


def _missing(schema: Mapping[str, Any], values: Sequence[Any], path: str) -> Iterator[str]:
    if values:
        yield from missing(schema, values, path)
    else:
        yield path


@pytest.mark.parametrize("kind", SPECS)
def test_no_field_is_missing(kind: str) -> None:
    schema = object_schema(KINDS[kind])["properties"]["spec"]
    assert list(missing(schema, [spec(kind, changes) for changes in SPECS[kind].values()], "spec")) == []


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in SPECS for name in SPECS[kind]])
def test_the_models_read_each_as_it_is_written(kind: str, name: str) -> None:
    wanted = spec(kind, SPECS[kind][name])
    assert contains(parse(kind, wanted).plain(), wanted)
