"""A framework's parameters: neither a typo nor what no worker takes may surface after hours in a queue.

XGBoost itself only logs a warning about a parameter that it does not know, and trains without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from mlpools.refusals import (
    XGBOOST_BOOSTERS,
    XGBOOST_GROUP_OBJECTIVES,
    XGBOOST_METRICS,
    XGBOOST_OBJECTIVES,
    XGBOOST_ONE_RANK_METRICS,
    XGBOOST_REFUSED_OBJECTIVES,
    XGBOOST_REFUSED_PARAMS,
    XGBOOST_TREE_METHODS,
    xgboost_group_refusal,
    xgboost_metric,
)
from mlpools_operator.api.v1alpha1.xgboost import XGBoostSpec

_GENERAL = """
    booster verbosity validate_parameters disable_default_eval_metric use_rmm
    seed random_state seed_per_iteration base_score num_class multi_strategy
"""
_TREES = """
    eta learning_rate gamma min_split_loss max_depth min_child_weight max_delta_step subsample sampling_method
    colsample_bytree colsample_bylevel colsample_bynode lambda reg_lambda alpha reg_alpha tree_method
    scale_pos_weight refresh_leaf grow_policy max_leaves max_bin num_parallel_tree
    monotone_constraints interaction_constraints max_cached_hist_node max_cat_to_onehot max_cat_threshold
"""
_DART = "sample_type normalize_type rate_drop one_drop skip_drop"
_RANKING = """
    lambdarank_pair_method lambdarank_num_pair_per_sample lambdarank_normalization
    lambdarank_score_normalization lambdarank_unbiased lambdarank_bias_norm ndcg_exp_gain
"""
_OBJECTIVES = "tweedie_variance_power huber_slope quantile_alpha"

#: Parameters of objectives that rank within groups.
RANKING = frozenset(_RANKING.split())
#: Documented parameters of XGBoost 3 that a job can use, less those that it says in fields of its own.
XGBOOST = frozenset(" ".join((_GENERAL, _TREES, _DART, _OBJECTIVES)).split()) | RANKING

_LINEAR = "feature_selector top_k tolerance"
_OTHER_BINNING = "sparse_threshold default_direction opt_dense_col"
_SURVIVAL = "aft_loss_distribution aft_loss_distribution_scale"
#: Documented parameters that no worker takes, and why.
REFUSED = {
    **XGBOOST_REFUSED_PARAMS,
    **dict.fromkeys(_LINEAR.split(), "it belongs to the linear booster, and only trees are trained here"),
    **dict.fromkeys(_OTHER_BINNING.split(), "it has no meaning for the way in which rows are binned here"),
    **dict.fromkeys(_SURVIVAL.split(), "it belongs to survival objectives, which cannot be used here"),
}


class RefusedParameterError(ValueError):
    """A parameter is unknown or of no use here; the text is one sentence with what to write instead."""


def check_xgboost(spec: XGBoostSpec, nodes: int) -> None:
    """Check what ``spec.xgboost`` asks of XGBoost, as far as no data is needed.

    Args:
        spec: the section.
        nodes: of the job.

    Raises:
        RefusedParameterError: XGBoost has no such parameter, or a worker would refuse it.
    """
    for name in sorted(spec.params):
        _check_name(name)
        if name in RANKING and not spec.objective.startswith(XGBOOST_GROUP_OBJECTIVES):
            raise RefusedParameterError(
                f"spec.xgboost.params: leave {name!r} out: it belongs to objectives that rank."
            )
    _check_choice(spec.params, "booster", XGBOOST_BOOSTERS)
    _check_choice(spec.params, "tree_method", XGBOOST_TREE_METHODS)
    if spec.objective.startswith(XGBOOST_REFUSED_OBJECTIVES):
        raise RefusedParameterError(
            f"spec.xgboost.objective: {spec.objective!r} needs bounds of labels or the order of all rows, "
            "which no node has; use an objective of single rows, such as reg:squarederror or binary:logistic."
        )
    _check_names(spec)
    metrics = spec.eval_metrics or ()
    given = {"group": spec.group_column is not None, "weight": spec.weight is not None}
    if refusal := xgboost_group_refusal(spec.objective, metrics, **given):
        field = "weight" if spec.group_column else "groupColumn"
        raise RefusedParameterError(f"spec.xgboost.{field}: {refusal}")
    for metric in metrics:
        if nodes > 1 and xgboost_metric(metric) in XGBOOST_ONE_RANK_METRICS:
            raise RefusedParameterError(
                f"spec.xgboost.evalMetrics: {metric!r} depends on the order of all rows, but XGBoost only "
                "averages the nodes' own values; use logloss, error or rmse, or nodes: 1."
            )


def hint(name: str, known: Collection[str], library: str) -> str:
    """Return a clause that helps with a misspelt name.

    Args:
        name: that is not known.
        known: the names there are.
        library: whose documentation lists them.
    """
    near = difflib.get_close_matches(name.lower().replace("-", "_"), sorted(known), n=1)
    return f"did you mean {near[0]}?" if near else f"see the lists in {library}'s documentation."


def _check_names(spec: XGBoostSpec) -> None:
    """Check the names of objective and metrics."""
    if spec.objective not in XGBOOST_OBJECTIVES:
        raise RefusedParameterError(
            f"spec.xgboost.objective: XGBoost has no objective {spec.objective!r}; "
            f"{hint(spec.objective, XGBOOST_OBJECTIVES, 'XGBoost')}"
        )
    for metric in spec.eval_metrics or ():
        if xgboost_metric(metric) not in XGBOOST_METRICS:
            raise RefusedParameterError(
                f"spec.xgboost.evalMetrics: XGBoost has no metric {metric!r}; "
                f"{hint(metric, XGBOOST_METRICS, 'XGBoost')}"
            )


def _check_name(name: str) -> None:
    if name in XGBOOST:
        return
    if name in REFUSED:
        raise RefusedParameterError(f"spec.xgboost.params: leave {name!r} out: {REFUSED[name]}.")
    raise RefusedParameterError(
        f"spec.xgboost.params: XGBoost has no parameter {name!r}; {hint(name, XGBOOST, 'XGBoost')}"
    )


def _check_choice(params: Mapping[str, Any], name: str, choice: tuple[str, ...]) -> None:
    if name in params and params[name] not in choice:
        raise RefusedParameterError(
            f"spec.xgboost.params: {name} cannot be {params[name]!r} here; use {' or '.join(choice)}."
        )
