"""Finds what the API server would refuse or misread in a schema, before it sees it."""

from __future__ import annotations

from mlpools_operator.crdgen.schema import Schema, walk

#: Keywords that the structural dialect does not know. ``anyOf`` is only for int-or-string.
_FOREIGN = (
    "$ref", "$defs", "const", "prefixItems", "discriminator", "patternProperties", "propertyNames",
    "if", "then", "else", "examples", "title", "oneOf", "allOf", "not",
)  # fmt: skip
_TYPES = ("string", "integer", "number", "boolean", "object", "array")
_BOUNDS = {"string": "maxLength", "array": "maxItems", "map": "maxProperties"}


def lint(schema: Schema, root: str) -> list[str]:
    """Return one sentence for each fault of a structural schema, with its YAML path.

    Args:
        schema: of ``spec`` or ``status``.
        root: YAML path of the schema.
    """
    faults = []
    for path, node in walk(schema, root):
        faults += [f"{path}: {fault}." for fault in (*_shape(node), *_bounds(node), *_texts(path, node))]
        if path.endswith("[]"):
            faults += [
                f"{inner}: a default inside list items." for inner, it in walk(node, path) if "default" in it
            ]
    return faults


def _shape(node: Schema) -> list[str]:
    faults = [f"{keyword} is not structural" for keyword in _FOREIGN if keyword in node]
    either = node.get("x-kubernetes-int-or-string", False)
    if not either and node.get("type") not in _TYPES:
        faults.append(f"type is {node.get('type')!r}, not one of {', '.join(_TYPES)}")
    if either and "type" in node:
        faults.append("an int-or-string has no type")
    if "anyOf" in node and not either:
        faults.append("anyOf is only for int-or-string")
    if "properties" in node and "additionalProperties" in node:
        faults.append("properties and additionalProperties exclude each other")
    if "exclusiveMinimum" in node or "exclusiveMaximum" in node:
        faults.append("a limit is inclusive here: use ge and le")
    return faults


def _bounds(node: Schema) -> list[str]:
    """Every list, map and string has an end, or the API server takes a rule's cost for boundless."""
    kind = "string" if node.get("x-kubernetes-int-or-string") else node.get("type", "")
    if kind == "object":
        open_ended = "additionalProperties" in node or node.get("x-kubernetes-preserve-unknown-fields")
        kind = "map" if open_ended else kind
    bound = _BOUNDS.get(kind)
    if bound is None or bound in node or "enum" in node or node.get("format") == "date-time":
        return []
    return [f"{bound} is missing"]


def _texts(path: str, node: Schema) -> list[str]:
    faults = []
    if not path.endswith(("[]", ".*")) and not node.get("description"):
        faults.append("it has no description")
    messages = [rule["message"] for rule in node.get("x-kubernetes-validations", ())]
    if any("\n" in message or not message.strip() for message in messages):
        faults.append("a rule's message is one line of text")
    return faults
