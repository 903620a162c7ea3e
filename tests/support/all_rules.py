"""The rules of all kinds, see ``api_rules``."""

from __future__ import annotations

from tests.support import api_rules, inference_rules, notebook_rules

CASES = (*api_rules.CASES, *inference_rules.INFERENCE_RULES, *notebook_rules.NOTEBOOK_RULES)
OPERATOR_RULES = (
    *api_rules.OPERATOR_RULES,
    *inference_rules.INFERENCE_OPERATOR_RULES,
    *notebook_rules.NOTEBOOK_OPERATOR_RULES,
)
TRANSITIONS = (
    *api_rules.TRANSITIONS,
    *inference_rules.INFERENCE_TRANSITIONS,
    *notebook_rules.NOTEBOOK_TRANSITIONS,
)
