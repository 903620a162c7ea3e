"""Reads the text of a filter, such as ``distance > 500 and carrier in ('AA', 'UA')``.

The text is the condition of an SQL ``WHERE``, of columns and literals only: comparisons, ``in``,
``between``, ``is null``, ``like``, and these joined by ``and``, ``or`` and ``not``. As in SQL a row passes
if the condition is true, not if it is unknown because of a null.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from mlpools.data.literals import Literal
from mlpools.data.predicates import All, Compare, CompareColumns, Either, In, IsNull, Like, Not, Predicate
from mlpools.errors import InvalidSpec

if TYPE_CHECKING:
    from sqlglot import exp

_COMPARISONS = {"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_TIMES = {"DATE", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME", "TIME"}


@functools.lru_cache(maxsize=64)
def parse(text: str) -> Predicate:
    """Return what a filter says.

    Raises:
        InvalidSpec: it is no condition over columns and literals; the part that is not is named.
    """
    import sqlglot  # costs time that most jobs need not spend

    try:
        statements = sqlglot.parse(text)
    except sqlglot.errors.SqlglotError as error:
        raise InvalidSpec(
            f"The filter {text!r} cannot be read{_place(error)}. {_HELP} "
            "A column that is called as a word of SQL stands in double quotes."
        ) from error
    if len(statements) != 1 or statements[0] is None:
        raise InvalidSpec(f"The filter {text!r} must be one condition. {_HELP}")
    return _condition(statements[0])


_HELP = "Write it like: distance > 500 and carrier in ('AA', 'UA')."


def _place(error: Exception) -> str:
    details = getattr(error, "errors", None)
    return f" near {details[0]['highlight']!r}" if details and details[0].get("highlight") else ""


def _condition(node: exp.Expr) -> Predicate:
    from sqlglot import exp

    match node:
        case exp.Paren():
            return _condition(node.this)
        case exp.And():
            return All(_condition(node.left), _condition(node.right))
        case exp.Or():
            return Either(_condition(node.left), _condition(node.right))
        case exp.Not():
            return Not(_condition(node.this))
        case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            return _comparison(node)
        case exp.Between():
            column = _column(node.this, node)
            low, high = (_literal(node.args[side], node) for side in ("low", "high"))
            return All(Compare(">=", column, low), Compare("<=", column, high))
        case exp.In() if node.expressions:
            values = tuple(_literal(value, node) for value in node.expressions)
            return In(_column(node.this, node), values)
        case exp.Is() if isinstance(node.expression, exp.Null):
            return IsNull(_column(node.this, node))
        case exp.Like() | exp.ILike() if isinstance(node.expression, exp.Literal):
            pattern = str(node.expression.this)
            return Like(_column(node.this, node), pattern, ignore_case=isinstance(node, exp.ILike))
        case exp.Column():
            return Compare("=", _column(node, node), Literal("boolean", "true"))
    raise _refusal(node)


def _comparison(node: exp.Expr) -> Predicate:
    from sqlglot import exp

    sign = _COMPARISONS[type(node).__name__]
    left, right = node.this, node.expression
    if isinstance(left, exp.Column) and isinstance(right, exp.Column):
        return CompareColumns(sign, _column(left, node), _column(right, node))
    if isinstance(left, exp.Column):
        return Compare(sign, _column(left, node), _literal(right, node))
    return Compare(_MIRRORED[sign], _column(right, node), _literal(left, node))


def _column(node: exp.Expr, whole: exp.Expr) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Column) and isinstance(node.this, exp.Identifier) and not node.table:
        return str(node.name)
    raise _refusal(node if not isinstance(node, exp.Literal) else whole)


def _literal(node: exp.Expr, whole: exp.Expr) -> Literal:
    from sqlglot import exp

    match node:
        case exp.Literal():
            return Literal("text" if node.is_string else "number", str(node.this))
        case exp.Neg() if isinstance(node.this, exp.Literal) and not node.this.is_string:
            return Literal("number", f"-{node.this.this}")
        case exp.Boolean():
            return Literal("boolean", str(node.this).lower())
        case exp.Cast() if isinstance(node.this, exp.Literal) and node.to.this.name in _TIMES:
            return Literal("text", str(node.this.this))
        case exp.Null():
            raise InvalidSpec(
                f"The filter has {whole.sql()!r}, but nothing equals null; write: is null, or: is not null."
            )
    raise _refusal(node)


def _refusal(node: exp.Expr) -> InvalidSpec:
    return InvalidSpec(
        f"The filter has {node.sql()!r}, but it may only compare columns with literals. {_HELP}"
    )
