"""Names of a framework's parameters: a typo must not surface after hours in a queue.

XGBoost itself only logs a warning about a parameter that it does not know, and trains without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

_GENERAL = """
    booster verbosity validate_parameters disable_default_eval_metric use_rmm
    seed random_state seed_per_iteration base_score num_class multi_strategy
"""
_TREES = """
    eta learning_rate gamma min_split_loss max_depth min_child_weight max_delta_step subsample sampling_method
    colsample_bytree colsample_bylevel colsample_bynode lambda reg_lambda alpha reg_alpha tree_method
    scale_pos_weight updater refresh_leaf process_type grow_policy max_leaves max_bin num_parallel_tree
    monotone_constraints interaction_constraints max_cached_hist_node max_cat_to_onehot max_cat_threshold
    sparse_threshold default_direction opt_dense_col
"""
_DART = "sample_type normalize_type rate_drop one_drop skip_drop"
_LINEAR = "feature_selector top_k tolerance"
_OBJECTIVES = """
    tweedie_variance_power huber_slope quantile_alpha aft_loss_distribution
    aft_loss_distribution_scale lambdarank_pair_method lambdarank_num_pair_per_sample
    lambdarank_normalization lambdarank_score_normalization lambdarank_unbiased lambdarank_bias_norm
    ndcg_exp_gain
"""

#: Documented parameters of XGBoost 3, less those that a TrainingJob says in fields of its own.
XGBOOST = frozenset(" ".join((_GENERAL, _TREES, _DART, _LINEAR, _OBJECTIVES)).split())


class UnknownParameterError(ValueError):
    """A parameter is unknown; the text is one sentence with the nearest known name."""


def check_xgboost(params: Mapping[str, Any]) -> None:
    """Check the names in ``spec.xgboost.params``.

    Raises:
        UnknownParameterError: XGBoost has no parameter of that name.
    """
    for name in sorted(params):
        if name in XGBOOST:
            continue
        near = difflib.get_close_matches(name.lower().replace("-", "_"), sorted(XGBOOST), n=1)
        hint = (
            f"did you mean {near[0]}?" if near else "see the list of parameters in XGBoost's documentation."
        )
        raise UnknownParameterError(f"spec.xgboost.params: XGBoost has no parameter {name!r}; {hint}")
