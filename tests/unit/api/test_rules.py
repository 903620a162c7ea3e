"""The models' own conditions say what the CRDs' rules say; integration tests hold those to the same table."""

from __future__ import annotations

import pytest

from mlpools_operator.api.v1alpha1 import KINDS, InvalidSpec, parse
from mlpools_operator.api.v1alpha1.meta import OPERATOR_RULES as OPERATOR_KEY
from mlpools_operator.crdgen.crd import object_schema
from mlpools_operator.crdgen.schema import walk
from tests.support.all_rules import CASES, OPERATOR_RULES, TRANSITIONS
from tests.support.api_rules import Case, Transition
from tests.support.manifests import spec


def name(case: Case) -> str:
    return f"{case.kind} {case.where}: {case.message}"


@pytest.mark.parametrize("case", [*CASES, *OPERATOR_RULES], ids=name)
def test_parse_knows_each_rule(case: Case) -> None:
    parse(case.kind, spec(case.kind, case.accepted))
    with pytest.raises(InvalidSpec) as refusal:
        parse(case.kind, spec(case.kind, case.refused))
    sentence = str(refusal.value)
    assert case.message in sentence
    assert sentence.startswith("spec")
    assert "\n" not in sentence


def test_the_table_covers_every_rule_and_no_rule_that_is_gone() -> None:
    cases: tuple[Case | Transition, ...] = (*CASES, *OPERATOR_RULES, *TRANSITIONS)
    tested = [(case.kind, case.where, case.message) for case in cases]
    rules = [
        (kind.name, path, rule["message"])
        for kind in KINDS.values()
        for path, node in walk(object_schema(kind), "")
        for key in ("x-kubernetes-validations", OPERATOR_KEY)
        for rule in node.get(key, ())
    ]
    for kind, where, message in rules:
        assert any((kind, where) == row[:2] and row[2] in message for row in tested), (kind, where, message)
    for row in tested:
        hits = [rule for rule in rules if row[:2] == rule[:2] and row[2] in rule[2]]
        assert len(hits) == 1, (row, hits)
