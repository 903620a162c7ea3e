"""LightGBM's parameters: it only warns about one that it does not know, and trains without it."""

from __future__ import annotations

from mlpools.refusals import (
    LIGHTGBM_METRICS,
    LIGHTGBM_OBJECTIVES,
    LIGHTGBM_REFUSED_PARAMS,
    lightgbm_refusal,
)
from mlpools_operator.api.v1alpha1.lightgbm import LightGBMSpec
from mlpools_operator.domain.training.hyperparameters import RefusedParameterError, hint

#: Parameters of LightGBM 4 that a job can use; the other names of each follow its main one.
_TAKEN = (
    "boosting boosting_type boost",
    "data_sample_strategy",
    "learning_rate shrinkage_rate eta",
    "num_leaves num_leaf max_leaves max_leaf max_leaf_nodes",
    "seed random_seed random_state",
    "deterministic",
    "force_col_wise",
    "force_row_wise",
    "histogram_pool_size hist_pool_size",
    "max_depth",
    "min_data_in_leaf min_data_per_leaf min_data min_child_samples min_samples_leaf",
    "min_sum_hessian_in_leaf min_sum_hessian_per_leaf min_sum_hessian min_hessian min_child_weight",
    "bagging_fraction sub_row subsample bagging",
    "pos_bagging_fraction pos_sub_row pos_subsample pos_bagging",
    "neg_bagging_fraction neg_sub_row neg_subsample neg_bagging",
    "bagging_freq subsample_freq",
    "bagging_seed bagging_fraction_seed",
    "bagging_by_query",
    "feature_fraction sub_feature colsample_bytree",
    "feature_fraction_bynode sub_feature_bynode colsample_bynode",
    "feature_fraction_seed",
    "extra_trees extra_tree",
    "extra_seed",
    "max_delta_step max_tree_output max_leaf_output",
    "lambda_l1 reg_alpha l1_regularization",
    "lambda_l2 reg_lambda lambda l2_regularization",
    "min_gain_to_split min_split_gain",
    "drop_rate rate_drop",
    "max_drop",
    "skip_drop",
    "xgboost_dart_mode",
    "uniform_drop",
    "drop_seed",
    "top_rate",
    "other_rate",
    "min_data_per_group",
    "max_cat_threshold",
    "cat_l2",
    "cat_smooth",
    "max_cat_to_onehot",
    "top_k topk",
    "monotone_constraints mc monotone_constraint monotonic_cst",
    "monotone_constraints_method monotone_constraining_method mc_method",
    "monotone_penalty monotone_splits_penalty ms_penalty mc_penalty",
    "feature_contri feature_contrib fc fp feature_penalty",
    "cegb_tradeoff",
    "cegb_penalty_split",
    "cegb_penalty_feature_lazy",
    "cegb_penalty_feature_coupled",
    "path_smooth",
    "interaction_constraints",
    "verbosity verbose",
    "saved_feature_importance_type",
    "use_quantized_grad",
    "num_grad_quant_bins",
    "quant_train_renew_leaf",
    "stochastic_rounding",
    "max_bin max_bins",
    "max_bin_by_feature",
    "min_data_in_bin",
    "bin_construct_sample_cnt subsample_for_bin",
    "data_random_seed data_seed",
    "is_enable_sparse is_sparse enable_sparse sparse",
    "enable_bundle is_enable_bundle bundle",
    "use_missing",
    "zero_as_missing",
    "objective_seed",
    "num_class num_classes",
    "is_unbalance unbalance unbalanced_sets",
    "scale_pos_weight",
    "sigmoid",
    "boost_from_average",
    "reg_sqrt",
    "alpha",
    "fair_c",
    "poisson_max_delta_step",
    "tweedie_variance_power",
    "lambdarank_truncation_level",
    "lambdarank_norm",
    "lambdarank_position_bias_regularization",
    "label_gain",
    "eval_at ndcg_eval_at ndcg_at map_eval_at map_at",
    "multi_error_top_k",
    "auc_mu_weights",
)
#: Every name of a parameter that can be used, with its main one.
LIGHTGBM = {name: names.split()[0] for names in _TAKEN for name in names.split()}


def check_lightgbm(spec: LightGBMSpec, nodes: int) -> None:
    """Check what ``spec.lightgbm`` asks of LightGBM, as far as no data is needed.

    Args:
        spec: the section.
        nodes: of the job.

    Raises:
        RefusedParameterError: LightGBM has no such parameter, or a worker would refuse it.
    """
    for name in sorted(spec.params):
        if name in LIGHTGBM_REFUSED_PARAMS:
            why = LIGHTGBM_REFUSED_PARAMS[name]
            raise RefusedParameterError(f"spec.lightgbm.params: leave {name!r} out: {why}.")
        if name not in LIGHTGBM:
            raise RefusedParameterError(
                f"spec.lightgbm.params: LightGBM has no parameter {name!r} for a job; "
                f"{hint(name, LIGHTGBM, 'LightGBM')}"
            )
    if spec.objective not in LIGHTGBM_OBJECTIVES:
        raise RefusedParameterError(
            f"spec.lightgbm.objective: LightGBM has no objective {spec.objective!r}; "
            f"{hint(spec.objective, LIGHTGBM_OBJECTIVES, 'LightGBM')}"
        )
    for metric in spec.eval_metrics or ():
        if metric not in LIGHTGBM_METRICS:
            raise RefusedParameterError(
                f"spec.lightgbm.evalMetrics: LightGBM has no metric {metric!r}; "
                f"{hint(metric, LIGHTGBM_METRICS, 'LightGBM')}"
            )
    params = {LIGHTGBM[name]: value for name, value in spec.params.items()}
    asked = {
        "objective": spec.objective,
        "metric": spec.eval_metrics or (),
        "tree_learner": spec.tree_learner,
    }
    given = {"grouped": spec.group_column is not None, "margins": spec.base_margin is not None}
    if refusal := lightgbm_refusal({**params, **asked}, nodes, **given):
        raise RefusedParameterError(f"spec.lightgbm: {refusal}")
