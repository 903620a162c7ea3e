"""Instance families: what a node of a pool is, and which machines give it.

A pool says what a node is by itself (``instance``) or names a family of the operator's catalogue, which adds
the labels and taints of such machines. A pool with an ``instance`` has one family, whose name is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from mlpools_operator.api.v1alpha1 import (
    ComputePoolSpec,
    InstanceShape,
    InvalidSpec,
    Model,
    Toleration,
    parse,
)
from mlpools_operator.domain import quantities, wording

_NAMES_SHOWN = 20


class Family(Model):
    """One kind of machine: what a node on it may have, and how such machines are found."""

    model_config = ConfigDict(extra="forbid")

    instance: InstanceShape
    """The shape of a node: what a pod may request there, DaemonSets taken off."""
    node_selector: Mapping[str, str] = Field(default_factory=dict)
    """Labels of such machines."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of such machines."""


#: The families that the operator knows, by name.
Catalogue = Mapping[str, Family]
#: Of an operator that was given none.
NO_FAMILIES: Catalogue = {}


def read(pool: Mapping[str, Any], catalogue: Catalogue) -> ComputePoolSpec:
    """Read a pool's spec, and check what it says of families, which the API server cannot.

    Raises:
        InvalidSpec: it breaks a rule, or names a family that the catalogue does not have. The pool becomes
            usable again as soon as either of the two is corrected.
    """
    spec = parse("ComputePool", pool)
    if spec.instance_family is not None and spec.instance_family not in catalogue:
        raise InvalidSpec(_unknown("spec.instanceFamily", spec.instance_family, catalogue))
    return spec


def order(spec: ComputePoolSpec) -> tuple[str, ...]:
    """Return the names of the pool's families in the order in which they are tried."""
    return (spec.instance_family or "",)


def find(spec: ComputePoolSpec, name: str, catalogue: Catalogue) -> Family:
    """Return one of the pool's families.

    Args:
        spec: of the pool, from ``read``.
        name: of the family.
        catalogue: the operator's.

    Raises:
        InvalidSpec: the pool does not have that family, or not any more.
    """
    if name not in order(spec):
        raise InvalidSpec(f"the pool does not have {_named(name)} any more")
    return Family(instance=spec.instance) if spec.instance is not None else catalogue[name]


def shape(spec: ComputePoolSpec, name: str, catalogue: Catalogue) -> InstanceShape:
    """Return what a node has that belongs to one of the pool's families."""
    return find(spec, name, catalogue).instance


def in_words(spec: ComputePoolSpec, name: str, catalogue: Catalogue) -> str:
    """Return such as ``2 CPU, 4Gi``, with the family in front if the pool has some: ``gpu-t4: 3 CPU, …``."""
    words = quantities.shape_in_words(shape(spec, name, catalogue))
    return f"{name}: {words}" if name else words


def _unknown(path: str, name: str, catalogue: Catalogue) -> str:
    if not catalogue:
        have = "has none: set the chart's value instanceFamilies, or use spec.instance"
    else:
        have = f"has {wording.listing(sorted(catalogue), _NAMES_SHOWN)}"
    return f"{path}: There is no instance family {name}. The operator's catalogue {have}."


def _named(name: str) -> str:
    return f"the instance family {name}" if name else "an instance of its own"
