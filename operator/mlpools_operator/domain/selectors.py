"""Label selectors: whether labels match, and how one reads."""

from __future__ import annotations

from collections.abc import Mapping

from mlpools_operator.api.v1alpha1 import LabelRequirement, NamespaceSelector

Labels = Mapping[str, str]


def matches(selector: NamespaceSelector | None, labels: Labels) -> bool:
    """Whether an object with these labels is meant; no selector means all."""
    if selector is None:
        return True
    wanted = selector.match_labels.items()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _holds(requirement, labels) for requirement in selector.match_expressions
    )


def needs_labels(selector: NamespaceSelector | None) -> bool:
    """Whether the labels must be known to say who is meant."""
    return selector is not None and not selector.selects_all


def in_words(selector: NamespaceSelector) -> str:
    """Return the selector as ``kubectl get --selector`` takes it, such as ``team=ml,tier in (a,b)``."""
    return ",".join(
        [
            *(f"{key}={value}" for key, value in sorted(selector.match_labels.items())),
            *(_requirement(requirement) for requirement in selector.match_expressions),
        ]
    )


def _holds(requirement: LabelRequirement, labels: Labels) -> bool:
    there = requirement.key in labels
    match requirement.operator:
        case "Exists":
            return there
        case "DoesNotExist":
            return not there
        case "In":
            return there and labels[requirement.key] in requirement.values
        case "NotIn":
            return not there or labels[requirement.key] not in requirement.values


def _requirement(requirement: LabelRequirement) -> str:
    match requirement.operator:
        case "Exists":
            return requirement.key
        case "DoesNotExist":
            return f"!{requirement.key}"
        case operator:
            return f"{requirement.key} {operator.lower()} ({','.join(requirement.values)})"
