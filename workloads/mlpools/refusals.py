"""What a job may not ask for, by one rule for both programs.

The operator says so before the job queues. A worker says it once more: it alone sees all the packages that
come with those a job names, and the operator of a neighbouring release may know another rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

#: Refused packages that a message names one by one.
_SHOWN_PACKAGES = 10
#: XGBoost's objectives.
XGBOOST_OBJECTIVES = frozenset(
    f"{kind}:{name}"
    for kind, names in {
        "reg": "squarederror squaredlogerror logistic pseudohubererror absoluteerror quantileerror gamma "
        "tweedie linear",
        "binary": "logistic logitraw hinge",
        "count": "poisson",
        "multi": "softmax softprob",
        "rank": "ndcg map pairwise",
        "survival": "aft cox",
    }.items()
    for name in names.split()
)
#: XGBoost's metrics, without what may follow a name, as in ``ndcg@5`` and ``map-``.
XGBOOST_METRICS = frozenset(
    name
    for names in (
        "rmse rmsle mae mape mphe quantile logloss error merror mlogloss auc aucpr pre ndcg map ams",
        "poisson-nloglik gamma-nloglik gamma-deviance tweedie-nloglik cox-nloglik aft-nloglik",
        "interval-regression-accuracy",
    )
    for name in names.split()
)
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


def xgboost_metric(metric: str) -> str:
    """Return the name of a metric without what may follow it."""
    return metric.partition("@")[0].rstrip("-")


def xgboost_group_refusal(objective: str, metrics: Sequence[str], *, group: bool, weight: bool) -> str | None:
    """Return why an objective and metrics do not fit to the rows, as a sentence; None if they do.

    Args:
        objective: in XGBoost's words.
        metrics: likewise, perhaps none.
        group: whether ``groupColumn`` is given.
        weight: whether ``weight`` is given.
    """
    ranks = objective.startswith(XGBOOST_GROUP_OBJECTIVES)
    names = {metric: xgboost_metric(metric) for metric in metrics}
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


#: LightGBM's objectives, each with the main one of its names.
LIGHTGBM_OBJECTIVES: Mapping[str, str] = {
    name: names.split()[0]
    for names in (
        "regression regression_l2 l2 mean_squared_error mse l2_root root_mean_squared_error rmse",
        "regression_l1 l1 mean_absolute_error mae",
        "huber",
        "fair",
        "poisson",
        "quantile",
        "mape mean_absolute_percentage_error",
        "gamma",
        "tweedie",
        "binary",
        "multiclass softmax",
        "multiclassova multiclass_ova ova ovr",
        "cross_entropy xentropy",
        "cross_entropy_lambda xentlambda",
        "lambdarank",
        "rank_xendcg xendcg xe_ndcg xe_ndcg_mart xendcg_mart",
    )
    for name in names.split()
}
#: Names of LightGBM's metrics; one that it does not know it leaves out without a word.
LIGHTGBM_METRICS = frozenset(
    name
    for names in (
        "l1 mean_absolute_error mae regression_l1 l2 mean_squared_error mse regression_l2 regression",
        "rmse root_mean_squared_error l2_root quantile mape mean_absolute_percentage_error huber fair",
        "poisson gamma gamma_deviance tweedie r2 ndcg lambdarank rank_xendcg",
        "xendcg xe_ndcg xe_ndcg_mart xendcg_mart map mean_average_precision auc average_precision",
        "binary_logloss binary binary_error auc_mu",
        "multi_logloss multiclass softmax multiclassova multiclass_ova ova ovr multi_error",
        "cross_entropy xentropy cross_entropy_lambda xentlambda kullback_leibler kldiv",
    )
    for name in names.split()
)
#: Parameters of LightGBM that no worker takes, by their main names, and why.
LIGHTGBM_REFUSED_PARAMS: Mapping[str, str] = {
    name: why
    for names, why in (
        ("machines num_machines local_listen_port machine_list_filename time_out pre_partition",
         "mlpools connects the nodes by itself"),
        ("device_type gpu_platform_id gpu_device_id gpu_device_id_list gpu_use_dp num_gpu",
         "LightGBM runs on CPUs here, since its published builds have no CUDA; xgboost uses GPUs"),
        ("linear_tree linear_lambda", "LightGBM cannot fit linear models in leaves over several nodes"),
        ("data valid config input_model output_model output_result save_binary snapshot_freq "
         "parser_config_file forcedsplits_filename forcedbins_filename",
         "data, model and checkpoints have fields of their own"),
        ("label_column weight_column group_column ignore_column categorical_feature header two_round "
         "precise_float_parser", "columns are chosen by label, weight, features and excluded"),
        ("task predict_raw_score predict_leaf_index predict_contrib predict_disable_shape_check "
         "start_iteration_predict num_iteration_predict pred_early_stop pred_early_stop_freq "
         "pred_early_stop_margin convert_model convert_model_language refit_decay_rate",
         "it is not about training"),
        ("metric_freq is_provide_training_metric", "all sets are measured after each round"),
        ("first_metric_only early_stopping_min_delta",
         "the last one of evalMetrics decides about early stopping, by any difference"),
        ("feature_pre_filter", "no feature is left out before it is tried"),
    )
    for name in names.split()
}  # fmt: skip
_LIGHTGBM_RANKING = ("lambdarank", "rank_xendcg")
#: Their leaves are medians or quantiles, of which LightGBM averages those of each rank's own rows: where rows
#: are sorted, that is no model of anything.
_LIGHTGBM_QUANTILES = ("regression_l1", "quantile", "mape")


def lightgbm_refusal(
    params: Mapping[str, Any], ranks: int, *, grouped: bool = False, margins: bool = False
) -> str | None:
    """Return why LightGBM's parameters would not do here what they say, as a sentence; None if they would.

    Args:
        params: by their main names, ``objective``, ``metric`` and ``tree_learner`` with them.
        ranks: workers of the job.
        grouped: whether a column says which rows are a group.
        margins: whether a column says what the trees begin from.
    """
    for name, why in LIGHTGBM_REFUSED_PARAMS.items():
        if name in params:
            return f"The parameter {name!r} cannot be set: {why}."
    if params.get("boosting") in ("rf", "random_forest"):
        return "boosting cannot be 'rf': a random forest cannot go on from a checkpoint; use gbdt or dart."
    objective = str(params.get("objective"))
    if LIGHTGBM_OBJECTIVES.get(objective) in _LIGHTGBM_RANKING and not grouped:
        return f"The objective {objective!r} ranks within groups of rows: name their column with groupColumn."
    if margins and LIGHTGBM_OBJECTIVES.get(objective) in ("multiclass", "multiclassova"):
        return f"The objective {objective!r} has a margin for each class, so baseMargin cannot be one column."
    if LIGHTGBM_OBJECTIVES.get(objective) in _LIGHTGBM_QUANTILES and ranks > 1:
        return (
            f"The objective {objective!r} takes medians of each node's own rows, and LightGBM only averages "
            "them; use huber or fair, or nodes: 1."
        )
    if params.get("tree_learner") == "feature" and ranks > 1:
        return (
            "treeLearner feature needs all rows on every node, while each node reads its own part: use data, "
            "or voting where features are very many."
        )
    if ranks > 1 and params.get("monotone_constraints_method", "basic") != "basic":
        return "On several nodes monotone_constraints_method can be basic only."
    if ranks > 1 and params.get("auc_mu_weights"):
        return "auc_mu_weights cannot be heeded on several nodes; leave it out, or use nodes: 1."
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


def package_refusals(packages: Iterable[tuple[str, str]], allow: Sequence[str], block: Sequence[str]) -> str:
    """Return which packages may not be installed, each with the reason, as an object; empty if all may.

    The operator asks before a job queues, and the pod for everything that would come with it.

    Args:
        packages: the name of each, and who needs it; empty if the job names it itself.
        allow: patterns of the pool's.
        block: patterns of the pool's, which win.
    """
    refused = []
    for name, needed_by in packages:
        why = package_refusal(name, allow, block)
        if why:
            origin = f", which {needed_by} needs" if needed_by else ""
            refused.append(f"{package_name(name)}{origin}: its {why}")
    if len(refused) > _SHOWN_PACKAGES:
        refused[_SHOWN_PACKAGES:] = [f"and {len(refused) - _SHOWN_PACKAGES} more"]
    if not refused:
        return ""
    return f"the package{'s' if len(refused) > 1 else ''} {'; '.join(refused)}"


def package_refusal(name: str, allow: Sequence[str], block: Sequence[str]) -> str | None:
    """Return why a package may not be installed, as a clause; None if it may."""
    wanted = package_name(name)
    for pattern in block:
        if fnmatchcase(wanted, package_name(pattern)):
            return f"packages.block has {pattern}"
    if any(fnmatchcase(wanted, package_name(pattern)) for pattern in allow):
        return None
    return "packages.allow does not have it"
