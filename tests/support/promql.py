"""What PromQL expressions name, to find a metric or label that is not there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

from promql_parser import AggregateExpr, BinaryExpr, Expr, MatrixSelector, VectorSelector, parse, walk

_SERIES = re.compile(r"\bmlpools_\w+")
#: Grafana's own variables, with a value that it might give them.
_OF_GRAFANA = {"$__rate_interval": "5m"}


def series_of(text: str) -> set[str]:
    """Return the series of this project that a page, or an expression, names."""
    return set(_SERIES.findall(text))


def unknown(expression: str, known: Mapping[str, Set[str]], scraped: Set[str]) -> set[str]:
    """Return the series that nobody exports, and the labels that the named series do not have.

    Args:
        expression: in PromQL, with Grafana's variables.
        known: labels by series.
        scraped: labels that every series has.

    Raises:
        ValueError: it is no PromQL.
    """
    for variable, value in _OF_GRAFANA.items():
        expression = expression.replace(variable, value)
    selectors: list[VectorSelector] = []
    grouped: set[str] = set()

    def look(part: Expr) -> None:
        match part:
            case VectorSelector():
                selectors.append(part)
            case MatrixSelector():
                selectors.append(part.vector_selector)
            case AggregateExpr(modifier=by) if by:
                grouped.update(by.labels)
            case BinaryExpr(modifier=how) if how:
                grouped.update(how.matching.labels if how.matching else (), how.group_labels or ())

    walk(parse(expression), look)
    strangers: set[str] = set()
    labels: set[str] = set()
    for selector in selectors:
        name = selector.name or ""
        strangers |= (
            {matcher.name for matcher in selector.matchers.matchers} - known.get(name, set()) - scraped
        )
        strangers |= {name} - known.keys()
        labels |= known.get(name, set())
    return strangers | (grouped - labels - scraped)
