"""What a PromQL expression names, read off its words: enough to find a metric or label that is not there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SERIES = re.compile(r"\bmlpools_\w+")
_SELECTOR = re.compile(r"\b(mlpools_\w+)\{([^}]*)\}")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_WORD = re.compile(r"\w+")


def series_of(expression: str) -> set[str]:
    """Return the series of this project that an expression names."""
    return set(_SERIES.findall(_STRING.sub('""', expression)))


def unknown(expression: str, known: Mapping[str, Set[str]], scraped: Set[str]) -> set[str]:
    """Return the series that nobody exports, and the labels that the named series do not have.

    Args:
        expression: in PromQL.
        known: labels by series.
        scraped: labels that every series has.
    """
    bare = _STRING.sub('""', expression)
    strangers = {name for name in series_of(expression) if name not in known}
    for name, matchers in _SELECTOR.findall(bare):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        strangers |= labels - known.get(name, frozenset()) - scraped
    named = [known.get(name, frozenset()) for name in series_of(expression)]
    grouped = {label for group in _GROUPING.findall(bare) for label in _WORD.findall(group)}
    return strangers | {label for label in grouped - scraped if not any(label in labels for labels in named)}
