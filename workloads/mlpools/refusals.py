"""What a job may not ask for, by one rule for both programs.

The operator says so before the job queues. A worker says it once more: it alone sees all the packages that
come with those a job names, and the operator of a neighbouring release may know another rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

#: What no job can ask of XGBoost here.
XGBOOST_BOOSTERS = ("gbtree", "dart")
#: The others do not work on several nodes.
XGBOOST_TREE_METHODS = ("hist", "auto")
#: They need bounds of labels, or the order of all rows, which no rank has.
XGBOOST_REFUSED_OBJECTIVES = ("survival:",)
#: What makes no sense without groups of rows to rank within.
XGBOOST_GROUP_OBJECTIVES = ("rank:",)
XGBOOST_GROUP_METRICS = frozenset({"ndcg", "map", "pre"})
#: Metrics that can weigh whole groups, as XGBoost does where there are groups.
XGBOOST_WEIGHING_GROUPS = XGBOOST_GROUP_METRICS | {"auc", "aucpr"}
XGBOOST_REFUSED_PARAMS: Mapping[str, str] = {
    "process_type": "only new models are trained here",
    "updater": "the tree method decides about updaters",
}
#: Metrics of an order of all rows that nobody computes over several ranks.
XGBOOST_ONE_RANK_METRICS = frozenset({"cox-nloglik"})


def xgboost_group_refusal(objective: str, metrics: Sequence[str], *, group: bool, weight: bool) -> str | None:
    """Return why an objective and metrics do not fit to the rows, as a sentence; None if they do.

    Args:
        objective: in XGBoost's words.
        metrics: likewise, perhaps none.
        group: whether ``groupColumn`` is given.
        weight: whether ``weight`` is given.
    """
    ranks = objective.startswith(XGBOOST_GROUP_OBJECTIVES)
    names = {metric: metric.partition("@")[0].rstrip("-") for metric in metrics}
    if not group:
        lacking = [metric for metric, name in names.items() if name in XGBOOST_GROUP_METRICS]
        what = f"objective {objective!r}" if ranks else f"metric {lacking[0]!r}" if lacking else ""
        return (
            f"The {what} ranks within groups: set groupColumn to the column that names them."
            if what
            else None
        )
    if weight:
        others = [metric for metric, name in names.items() if name not in XGBOOST_WEIGHING_GROUPS]
        what = f"metric {others[0]!r}" if others else "" if ranks else f"objective {objective!r}"
        if what:
            return (
                f"With groupColumn, weight weighs whole groups, which the {what} cannot do: leave weight out."
            )
    return None


#: A name, perhaps with extras, versions and a condition. What says where to get it from, such as
#: ``name @ https://…`` or an option, is none: packages come from the pool's index.
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[A-Za-z0-9._, -]*\])?"
    r"\s*\(?(?:[<>=!~][A-Za-z0-9.*+!<>=~,_ -]*)?\)?\s*(?:;.*)?"
)


def package_name(name: str) -> str:
    """Return the one spelling of a package's name, or of a pattern of names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required_package(requirement: str) -> str | None:
    """Return the name in a requirement such as ``name[extra]==1.2``; None if it is not of that kind."""
    match = _REQUIREMENT.fullmatch(requirement.strip())
    return package_name(match["name"]) if match else None


def package_refusal(name: str, allow: Sequence[str], block: Sequence[str]) -> str | None:
    """Return why a package may not be installed, as a clause; None if it may.

    The operator asks before a job queues, and the pod for everything that would come with it.
    """
    wanted = package_name(name)
    for pattern in block:
        if fnmatchcase(wanted, package_name(pattern)):
            return f"packages.block has {pattern}"
    if any(fnmatchcase(wanted, package_name(pattern)) for pattern in allow):
        return None
    return "packages.allow does not have it"
