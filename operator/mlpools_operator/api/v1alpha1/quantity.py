"""Kubernetes quantities: amounts with a unit, such as ``500m`` and ``4Gi``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints, WithJsonSchema

from mlpools_operator.api.v1alpha1.meta import INT_OR_STRING, Rule

_SUFFIXES: dict[str, int | Decimal] = {
    "": 1, "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
QUANTITY = r"^[0-9]+(\.[0-9]+)?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"


def amount(quantity: str) -> Decimal:
    """Return the number that a Kubernetes quantity stands for: ``500m`` -> 0.5, ``4Gi`` -> 4294967296."""
    number = quantity.rstrip("".join({letter for suffix in _SUFFIXES for letter in suffix}))
    return Decimal(number) * _SUFFIXES[quantity[len(number) :]]


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# A person writes `cpu: 2` as often as `cpu: "2"`, so both are taken, as in a container's resources.
_QuantityText = Annotated[
    str,
    BeforeValidator(_as_text),
    StringConstraints(max_length=32, pattern=QUANTITY),
    WithJsonSchema(
        {
            **INT_OR_STRING,
            "maxLength": 32,
            "pattern": QUANTITY,
        }
    ),
]
CpuQuantity = Annotated[
    _QuantityText,
    Rule(
        "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('1m')) >= 0",
        "must be a CPU quantity of at least 1m, such as 2 or 500m",
        lambda text: amount(text) >= Decimal("0.001"),
    ),
]
PositiveQuantity = Annotated[
    _QuantityText,
    Rule(
        "isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))",
        "must be a quantity above 0, such as 4Gi",
        lambda text: amount(text) > 0,
    ),
]
#: An amount of memory or disk.
BytesQuantity = PositiveQuantity
