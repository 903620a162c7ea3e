from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import NamespaceSelector
from mlpools_operator.domain import selectors

LABELS = {"team": "ml", "tier": "gold"}


def selector(*requirements: tuple[Any, ...], **labels: str) -> NamespaceSelector:
    expressions = [
        {"key": key, "operator": operator, **({"values": values} if values else {})}
        for key, operator, *values in requirements
    ]
    return NamespaceSelector.model_validate({"matchLabels": labels, "matchExpressions": expressions})


@pytest.mark.parametrize(
    ("chosen", "meant"),
    [
        (None, True),
        (selector(), True),
        (selector(team="ml"), True),
        (selector(team="ml", tier="silver"), False),
        (selector(absent=""), False),
        (selector(("team", "In", "ml", "data")), True),
        (selector(("team", "In", "data")), False),
        (selector(("absent", "In", "data")), False),
        (selector(("team", "NotIn", "ml")), False),
        (selector(("absent", "NotIn", "ml")), True),
        (selector(("team", "Exists")), True),
        (selector(("absent", "Exists")), False),
        (selector(("team", "DoesNotExist")), False),
        (selector(("absent", "DoesNotExist")), True),
        (selector(("absent", "DoesNotExist"), team="data"), False),
    ],
)
def test_who_is_meant(chosen: NamespaceSelector | None, meant: bool) -> None:
    assert selectors.matches(chosen, LABELS) is meant


def test_a_selector_reads_as_kubectl_takes_it() -> None:
    chosen = selector(
        ("tier", "In", "a", "b"), ("old", "DoesNotExist"), ("ml", "Exists"), ("x", "NotIn", "y"), team="ml"
    )
    assert selectors.in_words(chosen) == "team=ml,tier in (a,b),!old,ml,x notin (y)"


def test_only_conditions_need_labels() -> None:
    assert not any(map(selectors.needs_labels, (None, selector())))
    assert all(map(selectors.needs_labels, (selector(a="b"), selector(("a", "Exists")))))
