"""Turns a pydantic model into a structural schema, the dialect of JSON Schema that CRDs are written in.

The dialect has no references, no type ``null``, no ``const``, and every value has exactly one type, see
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from mlpools_operator.api.v1alpha1 import Model
from mlpools_operator.api.v1alpha1.meta import OPERATOR_RULES

Schema = dict[str, Any]

#: Keywords whose values add up where a field adds to what its type says.
_ADDITIVE = ("x-kubernetes-validations", OPERATOR_RULES)


class _Structural(GenerateJsonSchema):
    """Pydantic's generator, with absent instead of null and a default that the API server can fill in."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": list(schema["expected"])}

    def encode_default(self, dft: Any) -> Any:
        # An empty object is enough: the API server goes on and fills in its fields' own defaults.
        if isinstance(dft, BaseModel):
            return {}
        return list(dft) if isinstance(dft, tuple) else dft


def structural(model: type[Model], *, defaults: bool) -> Schema:
    """Return the structural schema of a model.

    Args:
        model: root of the schema.
        defaults: whether the API server fills in defaults. A status has none: the operator writes it.

    Raises:
        ValueError: a model contains itself, which the dialect cannot express.
    """
    raw = model.model_json_schema(by_alias=True, schema_generator=_Structural)
    schema = _flatten(raw, raw.pop("$defs", {}), ())
    return schema if defaults else without(schema, "default")


def _flatten(node: Mapping[str, Any], definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Schema:
    """Return the schema with its references replaced by what they refer to."""
    if reference := node.get("$ref"):
        name = str(reference).rpartition("/")[2]
        if name in inside:
            raise ValueError(f"{name} contains itself: {' -> '.join((*inside, name))}.")
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _flatten(_merged(definitions[name], beside), definitions, (*inside, name))
    result = {key: value for key, value in node.items() if not _says_nothing(key, value)}
    if "description" in result:
        result["description"] = " ".join(str(result["description"]).split())
    if properties := result.get("properties"):
        result["properties"] = {
            name: _flatten(child, definitions, inside) for name, child in properties.items()
        }
    for keyword in ("items", "additionalProperties"):
        if keyword in result:
            result[keyword] = _flatten(result[keyword], definitions, inside)
    return result


def _merged(base: Mapping[str, Any], beside: Mapping[str, Any]) -> Schema:
    """Return what a type says, overridden by what the field says of it."""
    added = {key: [*base.get(key, []), *beside[key]] for key in _ADDITIVE if key in beside}
    return {**base, **beside, **added}


def _says_nothing(key: str, value: Any) -> bool:
    """Whether a keyword is pydantic's title, a default that equals absence, or leave for any key."""
    return (
        key == "title"
        or (key == "default" and (value is None or value in ((), [])))
        or (key == "additionalProperties" and value is True)
    )


def without(node: Mapping[str, Any], keyword: str) -> Schema:
    """Return the schema without a keyword, in any depth."""
    result = {key: value for key, value in node.items() if key != keyword}
    if properties := result.get("properties"):
        result["properties"] = {name: without(child, keyword) for name, child in properties.items()}
    for inner in ("items", "additionalProperties"):
        if inner in result:
            result[inner] = without(result[inner], keyword)
    return result


def walk(schema: Schema, path: str) -> list[tuple[str, Schema]]:
    """Return a schema and all schemas inside it with their YAML paths, outer ones first.

    A list's entries are at ``path[]``, a map's values at ``path.*``.
    """
    found = [(path, schema)]
    for name, child in schema.get("properties", {}).items():
        found += walk(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        found += walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        found += walk(schema["additionalProperties"], f"{path}.*")
    return found
