"""Instance families: what a node of a pool is, and which machines give it.

A pool says what a node is by itself (``instance``) or names a family of the operator's catalogue, which adds
the labels and taints of such machines. A pool with an ``instance`` has one family, whose name is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ConfigDict, Field

from mlpools_operator.api.v1alpha1 import (
    ComputePoolSpec,
    InstanceShape,
    InvalidSpec,
    Model,
    Toleration,
    amount,
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
    if spec.instance_family is None:
        return spec
    for path, name in _named(spec):
        if name not in catalogue:
            raise InvalidSpec(_unknown(path, name, catalogue))
        less = _less(catalogue[name].instance, catalogue[spec.instance_family].instance)
        if less:
            raise InvalidSpec(
                f"{path}: A backup has to give at least what {spec.instance_family} gives, and {name} gives "
                f"less {' and '.join(less)}. Choose a larger family, or leave it out."
            )
    return spec


def order(spec: ComputePoolSpec) -> tuple[str, ...]:
    """Return the names of the pool's families in the order in which they are tried."""
    return (spec.instance_family or "", *spec.backup_instance_families)


def following(spec: ComputePoolSpec, name: str) -> str:
    """Return the family to try after one that lacked machines: after the last, the first again."""
    names = order(spec)
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]


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
        what = f"the instance family {name}" if name else "an instance of its own"
        raise InvalidSpec(f"the pool does not have {what} any more")
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


def _named(spec: ComputePoolSpec) -> Iterator[tuple[str, str]]:
    """Yield where a pool names which family."""
    first, *backups = order(spec)
    yield "spec.instanceFamily", first
    for number, name in enumerate(backups):
        yield f"spec.backupInstanceFamilies[{number}]", name


def _less(backup: InstanceShape, first: InstanceShape) -> list[str]:
    """Return what a shape has less of than another; without ephemeral storage of its own it has no limit."""
    less = [
        name for name in ("cpu", "memory") if amount(getattr(backup, name)) < amount(getattr(first, name))
    ]
    disk, first_disk = backup.ephemeral_storage, first.ephemeral_storage
    if disk is not None and (first_disk is None or amount(disk) < amount(first_disk)):
        less.append("ephemeralStorage")
    if first.gpus and (backup.gpus < first.gpus or backup.gpu_resource != first.gpu_resource):
        less.append(first.gpu_resource)
    return less
