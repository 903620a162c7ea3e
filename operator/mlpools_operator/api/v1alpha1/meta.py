"""What every model of the API is made of: the base model, rules, list kinds, and a kind's description.

A model is written once and serves three readers: the API server (``crdgen`` turns it into a structural
schema), the operator (``parse``), and a person (``kubectl explain`` and the reference pages). So an
attribute's docstring is its ``kubectl explain`` text, and a rule states its condition in CEL and in Python
side by side; the tests hold both to the same cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

GROUP = "mlpools.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

#: Words that Kubernetes writes in capitals inside a field name: ``modelURL``, ``downwardAPI``.
_ACRONYMS = {"url": "URL", "urls": "URLs", "api": "API", "gbs": "GBs"}


def camel(name: str) -> str:
    """Return the YAML name of an attribute: ``model_url`` -> ``modelURL``."""
    head, *rest = name.split("_")
    return head + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


@dataclass(frozen=True)
class Rule:
    """A condition on a value: enforced by the API server, and again by the operator.

    The operator repeats it since an object may be older than the rule. Put it into a field's ``Annotated``
    for a rule on that field, or into a model's ``rules``.

    Attributes:
        cel: the condition in CEL, where ``self`` is the value; None where CEL cannot see what it needs.
        message: one sentence for a person: what is wrong and what to write instead.
        holds: the same condition in Python; None for rules that compare with the old object.
        path: the field inside the value that is named as wrong, such as ``.output.url``.
    """

    cel: str | None
    message: str
    holds: Callable[[Any], bool] | None = None
    path: str = ""

    def check(self, value: Any) -> Any:
        """Return the value as it is.

        Raises:
            PydanticCustomError: the condition does not hold.
        """
        if self.holds is not None and not self.holds(value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message, "path": self.path})
        return value

    def schema(self) -> dict[str, str]:
        """Return the entry of ``x-kubernetes-validations``, or one for the operator's own checks."""
        entry = {"rule": self.cel, "message": self.message, "fieldPath": self.path}
        return {key: value for key, value in entry.items() if value}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return add_rules(handler(schema), [self])


#: Key under which operator-only rules travel from the models to the reference pages; never in a CRD.
OPERATOR_RULES = "x-mlpools-operator-rules"


def add_rules(schema: JsonSchemaValue, rules: Sequence[Rule]) -> JsonSchemaValue:
    """Return the schema with the rules appended to those that it has."""
    result = dict(schema)
    for rule in rules:
        key = OPERATOR_RULES if rule.cel is None else "x-kubernetes-validations"
        result[key] = [*result.get(key, []), rule.schema()]
    return result


def exactly_one(fields: Sequence[str], message: str) -> Rule:
    """Return the rule that exactly one of the model's optional fields is given."""
    given = ", ".join(f"has(self.{camel(name)})" for name in fields)
    return Rule(
        f"[{given}].exists_one(given, given)",
        message,
        lambda model: sum(getattr(model, name) is not None for name in fields) == 1,
    )


def at_most_one(fields: tuple[str, str], message: str) -> Rule:
    """Return the rule that the two optional fields of a model are not given together."""
    first, second = fields
    return Rule(
        f"!has(self.{camel(first)}) || !has(self.{camel(second)})",
        message,
        lambda model: any(getattr(model, name) in (None, ()) for name in fields),
    )


@dataclass(frozen=True, eq=False)
class Extension:
    """Keywords that a field's schema gets in the CRD, such as ``x-kubernetes-list-type``."""

    keywords: Mapping[str, Any] = field(default_factory=dict)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), **self.keywords}


#: Keywords of a value that may be written as a number or as text.
INT_OR_STRING: Mapping[str, Any] = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
}
#: Entries are unique scalars; server-side apply merges them.
LIST_SET = Extension({"x-kubernetes-list-type": "set"})


def list_map(key: str) -> Extension:
    """Return the marker of a list whose entries are told apart, and merged, by one of their fields."""
    return Extension({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})


class Model(BaseModel):
    """Base of all models: camelCase in YAML, frozen, and blind to fields of a newer release.

    Unknown fields are ignored here, since an operator that was rolled back must still read the objects of
    its successor; the API server refuses them when a person applies a manifest.
    """

    model_config = ConfigDict(
        alias_generator=camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        for rule in self.rules:
            rule.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        return add_rules(handler.resolve_ref_schema(handler(schema)), cls.rules)

    def plain(self) -> dict[str, Any]:
        """Return plain JSON with YAML names, without absent values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True)
class Column:
    """A column of ``kubectl get``."""

    name: str
    path: str
    type: Literal["string", "integer", "date"] = "string"
    description: str = ""


@dataclass(frozen=True)
class Scale:
    """The scale subresource, by which `kubectl scale` and narrow rights reach one number of the spec.

    Attributes:
        wanted: path of the number that is set.
        there: path of the number that is.
    """

    wanted: str
    there: str


@dataclass(frozen=True)
class Kind:
    """What the API server has to know of a kind besides the fields of its spec and status.

    Attributes:
        description: the kind's ``kubectl explain`` text.
        rules: root rules, which see the old and the new object with their status.
        scale: its scale subresource, if it has one.
    """

    name: str
    plural: str
    scope: Literal["Cluster", "Namespaced"]
    short_names: tuple[str, ...]
    spec: type[Model]
    status: type[Model]
    columns: tuple[Column, ...]
    description: str
    rules: tuple[Rule, ...] = ()
    scale: Scale | None = None

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"
