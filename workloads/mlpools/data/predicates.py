"""What a filter says: as an Arrow expression for rows, and against statistics for units that need no reading.

SQL's logic has three values: a comparison with null is neither true nor false. ``outcomes`` returns which
of them a unit's rows can have; a unit without a row that can be true is never read.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from mlpools.data.formats import Bounds
from mlpools.data.literals import Literal, comparable, comparable_field
from mlpools.errors import InvalidSpec

#: True, False or, for unknown, None.
Outcomes = frozenset[bool | None]
#: Looks up what is known about a column of the unit in question.
Lookup = Callable[[str], Bounds | None]

_ANYTHING: Outcomes = frozenset({True, False, None})
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Predicate(Protocol):
    """A condition on a row."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns it looks at."""

    def expression(self, schema: pa.Schema) -> pc.Expression:
        """Return it for rows of a schema.

        Raises:
            InvalidSpec: a column's type cannot be compared with a literal.
        """

    def outcomes(self, schema: pa.Schema, lookup: Lookup) -> Outcomes:
        """Return what it can be for the rows of a unit."""


@dataclasses.dataclass(frozen=True)
class _Pair:
    """Two predicates of which one side's value can decide for both.

    Attributes:
        decides: that value; the other one needs both sides, and unknown is what is left.
    """

    left: Predicate
    right: Predicate

    decides: ClassVar[bool]

    @property
    def columns(self) -> frozenset[str]:
        """The columns it looks at."""
        return self.left.columns | self.right.columns

    def outcomes(self, schema: pa.Schema, lookup: Lookup) -> Outcomes:
        """Return what it can be for the rows of a unit."""
        sides = (self.left.outcomes(schema, lookup), self.right.outcomes(schema, lookup))
        return frozenset(
            self.decides if self.decides in pair else None if None in pair else not self.decides
            for pair in itertools.product(*sides)
        )


class All(_Pair):
    """Both are true."""

    decides = False

    def expression(self, schema: pa.Schema) -> pc.Expression:
        """Return it for rows of a schema."""
        return self.left.expression(schema) & self.right.expression(schema)


class Either(_Pair):
    """At least one is true."""

    decides = True

    def expression(self, schema: pa.Schema) -> pc.Expression:
        """Return it for rows of a schema."""
        return self.left.expression(schema) | self.right.expression(schema)


@dataclasses.dataclass(frozen=True)
class Not:
    """It is false."""

    inner: Predicate

    @property
    def columns(self) -> frozenset[str]:
        """The columns it looks at."""
        return self.inner.columns

    def expression(self, schema: pa.Schema) -> pc.Expression:
        """Return it for rows of a schema."""
        return ~self.inner.expression(schema)

    def outcomes(self, schema: pa.Schema, lookup: Lookup) -> Outcomes:
        """Return what it can be for the rows of a unit."""
        inner = self.inner.outcomes(schema, lookup)
        return frozenset(None if outcome is None else not outcome for outcome in inner)


@dataclasses.dataclass(frozen=True)
class Compare:
    """A column against a literal."""

    sign: str
    column: str
    literal: Literal

    @property
    def columns(self) -> frozenset[str]:
        """The columns it looks at."""
        return frozenset({self.column})

    def expression(self, schema: pa.Schema) -> pc.Expression:
        """Return it for rows of a schema."""
        field, [value] = comparable(schema.field(self.column), [self.literal])
        compared: pc.Expression = _OPERATORS[self.sign](field, value)
        return compared

    def outcomes(self, schema: pa.Schema, lookup: Lookup) -> Outcomes:
        """Return what it can be for the rows of a unit."""
        bounds = lookup(self.column)
        if bounds is None:
            return _ANYTHING
        if bounds.nulls == bounds.rows:
            return frozenset({None})
        kind = schema.field(self.column).type
        _, [value] = comparable(schema.field(self.column), [self.literal])
        found = _against(self.sign, bounds, value.as_py())
        if pa.types.is_floating(kind):
            found |= {self.sign == "<>"}  # NaN differs from everything and no statistics tell of it
        return found if bounds.nulls == 0 else found | {None}


@dataclasses.dataclass(frozen=True)
class CompareColumns:
    """A column against another one."""

    sign: str
    left: str
    right: str

    @property
    def columns(self) -> frozenset[str]:
        """The columns it looks at."""
        return frozenset({self.left, self.right})

    def expression(self, schema: pa.Schema) -> pc.Expression:
        """Return it for rows of a schema."""
        left, right = (comparable_field(schema.field(name)) for name in (self.left, self.right))
        try:
            compared: pc.Expression = _OPERATORS[self.sign](left, right)
            schema.empty_table().filter(compared)
        except pa.ArrowException as error:
            kinds = [f"{name!r}, which is {schema.field(name).type}" for name in (self.left, self.right)]
            raise InvalidSpec(
                f"The filter compares {kinds[0]}, with {kinds[1]}: they cannot be compared; "
                "text is written in single quotes."
            ) from error
        return compared

    def outcomes(self, schema: pa.Schema, lookup: Lookup) -> Outcomes:
        """Return what it can be for the rows of a unit."""
        return _ANYTHING


@dataclasses.dataclass(frozen=True)
class In:
    """A column is one of some literals."""

    column: str
    literals: tuple[Literal, ...]

    @property
    def columns(self) -> frozenset[str]:
        """The columns it looks at."""
        return frozenset({self.column})

    def expression(self, schema: pa.Schema) -> pc.Expression:
        """Return it for rows of a schema; Arrow would call a null false, which ``not`` turns into true."""
        field, values = comparable(schema.field(self.column), self.literals)
        found = field.isin(pa.array([value.as_py() for value in values], values[0].type))
        return pc.if_else(field.is_null(), pa.scalar(None, pa.bool_()), found)

    def outcomes(self, schema: pa.Schema, lookup: Lookup) -> Outcomes:
        """Return what it can be for the rows of a unit."""
        each = [Compare("=", self.column, literal).outcomes(schema, lookup) for literal in self.literals]
        together = frozenset(itertools.chain.from_iterable(each))
        return frozenset({True}) if frozenset({True}) in each else together


@dataclasses.dataclass(frozen=True)
class IsNull:
    """A column has no value."""

    column: str

    @property
    def columns(self) -> frozenset[str]:
        """The columns it looks at."""
        return frozenset({self.column})

    def expression(self, schema: pa.Schema) -> pc.Expression:
        """Return it for rows of a schema."""
        return pc.field(self.column).is_null()

    def outcomes(self, schema: pa.Schema, lookup: Lookup) -> Outcomes:
        """Return what it can be for the rows of a unit."""
        bounds = lookup(self.column)
        if bounds is None or bounds.nulls is None:
            return frozenset({True, False})
        return frozenset({bounds.nulls > 0, bounds.nulls == bounds.rows})


@dataclasses.dataclass(frozen=True)
class Like:
    """A text column fits a pattern, in which ``%`` stands for any text and ``_`` for one character."""

    column: str
    pattern: str
    ignore_case: bool = False

    @property
    def columns(self) -> frozenset[str]:
        """The columns it looks at."""
        return frozenset({self.column})

    def expression(self, schema: pa.Schema) -> pc.Expression:
        """Return it for rows of a schema."""
        field, _ = comparable(schema.field(self.column), [Literal("pattern", self.pattern)])
        return pc.match_like(field, self.pattern, ignore_case=self.ignore_case)

    def outcomes(self, schema: pa.Schema, lookup: Lookup) -> Outcomes:
        """Return what it can be for the rows of a unit."""
        return _ANYTHING


def _against(sign: str, bounds: Bounds, value: Any) -> Outcomes:
    """Return what the comparison of a value that is not null can be."""
    low, high = bounds.low, bounds.high
    if low is None or high is None or low != low or high != high:  # NaN
        return frozenset({True, False})
    try:
        if sign in {"=", "<>"}:
            equal = ({True} if low <= value <= high else set()) | (
                {False} if low != value or high != value else set()
            )
            return frozenset(outcome == (sign == "=") for outcome in equal)
        compare = _OPERATORS[sign]
        return frozenset({compare(low, value), compare(high, value)})
    except TypeError:
        return frozenset({True, False})
