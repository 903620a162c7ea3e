"""Models become structural schemas, and what is not structural is found before the API server sees it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from mlpools_operator.api.v1alpha1.meta import LIST_SET, Model, Rule, exactly_one, list_map
from mlpools_operator.crdgen.lint import lint
from mlpools_operator.crdgen.schema import structural, walk, without

Text = Annotated[str, Field(max_length=9)]


class Inner(Model):
    """Said of the type."""

    title: Text
    """A field that is called as a keyword."""
    size: Annotated[int, Field(ge=1, le=3)] = 2
    """Size."""
    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.size > 0", "of the type", lambda it: it.size > 0),)


class Outer(Model):
    """Everything."""

    inner: Annotated[Inner, Rule("self.size < 3", "of the field", lambda it: it.size < 3)]
    """Said of the
    field."""
    again: Inner = Inner(title="x")
    """Another."""
    maybe: Text | None = None
    """Optional."""
    choice: Literal["A"] = "A"
    """One word."""
    words: Annotated[tuple[Text, ...], Field(max_length=3), LIST_SET] = ()
    """Words."""
    keyed: Annotated[tuple[Inner, ...], Field(max_length=3), list_map("title")] = ()
    """Entries."""
    table: dict[str, Inner] = Field(default_factory=dict, max_length=3)
    """By name."""


def test_references_are_replaced_and_a_field_says_more_than_its_type() -> None:
    inner = structural(Outer, defaults=True)["properties"]["inner"]
    assert inner["description"] == "Said of the field."
    assert [rule["message"] for rule in inner["x-kubernetes-validations"]] == ["of the type", "of the field"]
    assert set(inner["properties"]) == {"title", "size"}
    assert inner["required"] == ["title"]


def test_absent_is_absent_and_not_null() -> None:
    properties = structural(Outer, defaults=True)["properties"]
    assert properties["maybe"] == {"type": "string", "maxLength": 9, "description": "Optional."}
    assert properties["choice"] == {
        "type": "string",
        "enum": ["A"],
        "default": "A",
        "description": "One word.",
    }


def test_an_object_is_filled_in_from_its_fields_defaults() -> None:
    again = structural(Outer, defaults=True)["properties"]["again"]
    assert again["default"] == {}
    assert again["properties"]["size"]["default"] == 2


def test_empty_lists_are_no_defaults_and_a_status_has_none_at_all() -> None:
    assert "default" not in structural(Outer, defaults=True)["properties"]["words"]
    assert not [path for path, node in walk(structural(Outer, defaults=False), "") if "default" in node]


def test_list_kinds() -> None:
    properties = structural(Outer, defaults=True)["properties"]
    assert properties["words"]["x-kubernetes-list-type"] == "set"
    assert properties["keyed"]["x-kubernetes-list-type"] == "map"
    assert properties["keyed"]["x-kubernetes-list-map-keys"] == ["title"]


def test_walk_names_lists_and_maps() -> None:
    paths = [path for path, _ in walk(structural(Outer, defaults=True), "spec")]
    assert {"spec", "spec.inner.title", "spec.keyed[].title", "spec.table.*.size", "spec.words[]"} <= set(
        paths
    )


def test_without_reaches_every_depth() -> None:
    bare = without(structural(Outer, defaults=True), "x-kubernetes-validations")
    assert not [path for path, node in walk(bare, "") if "x-kubernetes-validations" in node]
    assert "title" in bare["properties"]["inner"]["properties"]


class Endless(Model):
    """It contains itself."""

    inner: Endless | None = None
    """Itself."""


def test_a_model_that_contains_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="Endless contains itself"):
        structural(Endless, defaults=True)


def test_defaults_inside_list_items_are_found() -> None:
    assert lint(structural(Outer, defaults=True), "spec") == [
        "spec.keyed[].size: a default inside list items."
    ]


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "string"}, "maxLength is missing"),
        ({"type": "array", "items": {"type": "integer"}}, "maxItems is missing"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "maxProperties is missing"),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, "maxProperties is missing"),
        ({"type": "null"}, "type is 'null'"),
        ({}, "type is None"),
        ({"type": "integer", "const": 1}, "const is not structural"),
        ({"type": "integer", "exclusiveMinimum": 0}, "a limit is inclusive here"),
        ({"type": "integer", "oneOf": []}, "oneOf is not structural"),
        ({"type": "integer", "anyOf": [{"type": "integer"}]}, "anyOf is only for int-or-string"),
        (
            {"x-kubernetes-int-or-string": True, "type": "string", "maxLength": 1},
            "an int-or-string has no type",
        ),
        ({"$ref": "#/$defs/X", "type": "object"}, "$ref is not structural"),
        (
            {
                "type": "object",
                "properties": {},
                "additionalProperties": {"type": "integer"},
                "maxProperties": 1,
            },
            "exclude each other",
        ),
        (
            {"type": "integer", "x-kubernetes-validations": [{"rule": "true", "message": "two\nlines"}]},
            "one line of text",
        ),
    ],
)
def test_lint_finds(schema: dict[str, Any], fault: str) -> None:
    described = {"description": "A field.", **schema}
    faults = lint({"type": "object", "description": "All.", "properties": {"x": described}}, "spec")
    assert len(faults) == 1
    assert faults[0].startswith("spec.x: ")
    assert fault in faults[0]


def test_lint_wants_a_description() -> None:
    schema = {"type": "object", "description": "All.", "properties": {"x": {"type": "integer"}}}
    assert lint(schema, "spec") == ["spec.x: it has no description."]


def test_lint_lets_pass_what_is_structural() -> None:
    fields: dict[str, dict[str, Any]] = {
        "number": {"type": "integer", "minimum": 0},
        "text": {"type": "string", "maxLength": 5},
        "word": {"type": "string", "enum": ["a"]},
        "time": {"type": "string", "format": "date-time"},
        "quantity": {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 5,
        },
    }
    described = {name: {"description": "A field.", **field} for name, field in fields.items()}
    assert lint({"type": "object", "description": "All.", "properties": described}, "spec") == []


def test_exactly_one_counts_what_is_given() -> None:
    rule = exactly_one(("config_map", "secret_key"), "One of them.")
    assert rule.cel == "[has(self.configMap), has(self.secretKey)].exists_one(given, given)"
