"""What a user may say about the environment variables of pods."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import StringConstraints

from mlpools_operator.api.v1alpha1.common import KeyName, ObjectName
from mlpools_operator.api.v1alpha1.meta import Model, Rule, at_most_one, exactly_one

#: Variables that carry the contract between operator and pod.
OWN_ENV_PREFIX = "MLPOOLS_"
OWN_ENV = "JOB_COMPLETION_INDEX"


def is_own_variable(name: str) -> bool:
    """Whether a variable belongs to the contract between operator and pod."""
    return name.startswith(OWN_ENV_PREFIX) or name == OWN_ENV


_FIELD_PATH = (
    r"^(metadata\.(name|namespace|uid)|metadata\.(labels|annotations)\['[^']+'\]"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIP|hostIPs|podIP|podIPs))$"
)
_VARIABLE = StringConstraints(min_length=1, max_length=256, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
_VariableName = Annotated[
    str,
    _VARIABLE,
    Rule(
        f"!self.startsWith('{OWN_ENV_PREFIX}') && self != '{OWN_ENV}'",
        f"{OWN_ENV} and names that begin with {OWN_ENV_PREFIX} are mlpools' own: choose another name.",
        lambda name: not is_own_variable(name),
    ),
]
_VariablePrefix = Annotated[
    str,
    _VARIABLE,
    Rule(
        f"!self.startsWith('{OWN_ENV_PREFIX}')",
        f"Names that begin with {OWN_ENV_PREFIX} are mlpools' own: choose another prefix.",
        lambda prefix: not prefix.startswith(OWN_ENV_PREFIX),
    ),
]


class SecretKey(Model):
    """A key of a Secret in the pods' namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: KeyName
    """Key inside it."""
    optional: bool | None = None
    """Whether the pod starts without it. Absent: false."""


class ConfigMapKey(Model):
    """A key of a ConfigMap in the pods' namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: KeyName
    """Key inside it."""
    optional: bool | None = None
    """Whether the pod starts without it. Absent: false."""


class FieldRef(Model):
    """A field of the pod itself."""

    field_path: Annotated[str, StringConstraints(max_length=512, pattern=_FIELD_PATH)]
    """Path of the field, such as status.podIP or metadata.labels['team']."""


class EnvSource(Model):
    """Where the value of a variable comes from."""

    secret_key_ref: SecretKey | None = None
    """A key of a Secret."""
    config_map_key_ref: ConfigMapKey | None = None
    """A key of a ConfigMap."""
    field_ref: FieldRef | None = None
    """A field of the pod."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            ("secret_key_ref", "config_map_key_ref", "field_ref"),
            "valueFrom takes exactly one of secretKeyRef, configMapKeyRef and fieldRef.",
        ),
    )


class EnvVar(Model):
    """An environment variable of the pods' processes."""

    name: _VariableName
    """Its name."""
    value: Annotated[str, StringConstraints(max_length=32_768)] | None = None
    """Its value. As in any pod, $(NAME) stands for the value of a variable above it, and $$ for a $. Not for
    secrets: whoever may read this object can read it."""
    value_from: EnvSource | None = None
    """Where its value comes from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        at_most_one(("value", "value_from"), "Give either value or valueFrom."),
    )


class EnvObject(Model):
    """A ConfigMap or Secret in the pods' namespace."""

    name: ObjectName
    """Its name."""
    optional: bool | None = None
    """Whether the pod starts without it. Absent: false."""


class EnvFromSource(Model):
    """An object whose every key becomes an environment variable."""

    prefix: _VariablePrefix | None = None
    """Put before each key."""
    config_map_ref: EnvObject | None = None
    """A ConfigMap."""
    secret_ref: EnvObject | None = None
    """A Secret."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(("config_map_ref", "secret_ref"), "Give exactly one of configMapRef and secretRef."),
    )
