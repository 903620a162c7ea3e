"""Whether a pool takes anybody at all, asked before its queue is looked at."""

from __future__ import annotations

from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InvalidSpec
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pool import families
from mlpools_operator.domain.pool import life as pool_life
from mlpools_operator.domain.pool.families import Catalogue
from mlpools_operator.domain.pool.life import Life


@dataclass(frozen=True, slots=True)
class Closed:
    """What is said to all who ask for nodes.

    Attributes:
        life: None for a pool that cannot be used at all.
    """

    reason: str
    message: str
    life: Life | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """A pool that takes jobs, and how long without any."""

    life: Life


def rules(pool: Resource, catalogue: Catalogue) -> ComputePoolSpec | Closed:
    """Return a pool's rules, unless it can serve nobody.

    Args:
        pool: as it stands.
        catalogue: the operator's families of machines.
    """
    name = pool.meta.name
    if pool.meta.deleting:
        words = f"Pool {name} is being deleted: choose another pool, or wait until it is made again."
        return Closed("PoolNotFound", words)
    try:
        return families.read(pool.spec, catalogue)
    except InvalidSpec as error:
        words = f"Pool {name} cannot be used until its administrator corrects it: {error}"
        return Closed("PoolNotFound", words)


def look(pool: Resource, spec: ComputePoolSpec, *, held: bool, asked: bool, now: float) -> Open | Closed:
    """Decide whether a pool is open.

    Args:
        pool: as it stands.
        spec: its rules.
        held: something holds nodes of it.
        asked: something waits for nodes of it.
        now: seconds since the epoch.
    """
    name = pool.meta.name
    life = pool_life.look(pool, spec, held=held, asked=asked, now=now)
    if life.asleep:
        return Closed("PoolSuspended", pool_life.suspended(life, name), life)
    if life.waking:
        return Closed("PoolResuming", pool_life.resuming(name), life)
    return Open(life)
