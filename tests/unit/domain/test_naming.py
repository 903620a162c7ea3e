from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain import naming
from mlpools_operator.domain.observed import Meta

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True)


def test_ordinary_names_are_plain() -> None:
    assert naming.attempt_job("arrival-delay", 2) == "arrival-delay-2"
    assert naming.hostname("arrival-delay", 2, 11) == "arrival-delay-2-11"
    assert naming.service("arrival-delay") == "tj-arrival-delay"


@given(names, st.integers(1, 99_999), st.integers(0, 4095))
def test_every_name_fits_its_place(name: str, attempt: int, rank: int) -> None:
    host = naming.hostname(name, attempt, rank)
    assert len(host) <= 63
    assert _LABEL.fullmatch(host)
    assert len(naming.service(name)) <= 63
    assert _DNS_1035.fullmatch(naming.service(name))
    assert len(naming.label_value(name)) <= 63
    assert _LABEL_VALUE.fullmatch(naming.label_value(name))


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.b", "a-b"), ("x" * 70 + "1", "x" * 70 + "2"), ("a", "a-1")],
)
def test_different_jobs_have_different_children(one: str, other: str) -> None:
    assert naming.attempt_job(one, 1) != naming.attempt_job(other, 1)
    assert naming.service(one) != naming.service(other)


def test_a_childs_hash_changes_with_what_is_built_and_with_nothing_else() -> None:
    child = {"kind": "Service", "metadata": {"name": "a"}, "spec": {"b": 1, "c": 2}}
    same = {"spec": {"c": 2, "b": 1}, "metadata": {"name": "a"}, "kind": "Service"}
    other = {**child, "spec": {"b": 1, "c": 3}}
    assert naming.spec_hash(naming.with_hash(child)) == naming.spec_hash(naming.with_hash(same))
    assert naming.spec_hash(naming.with_hash(child)) != naming.spec_hash(naming.with_hash(other))


def test_labels_and_owner_lead_back_to_the_owner_and_carry_nothing_else_of_it() -> None:
    owner = Meta("flights", "uid-1", namespace="team-a", labels={"team": "a"}, annotations={"x": "y"})
    labels = naming.labels("TrainingJob", owner, "cpu", 3)
    assert labels == {
        "app.kubernetes.io/managed-by": "mlpools",
        "mlpools.dev/kind": "TrainingJob",
        "mlpools.dev/job-name": "flights",
        "mlpools.dev/job-uid": "uid-1",
        "mlpools.dev/pool": "cpu",
        "mlpools.dev/attempt": "3",
    }
    reference = naming.owner_reference("TrainingJob", owner)
    assert (reference["uid"], reference["controller"], reference["blockOwnerDeletion"]) == (
        "uid-1",
        True,
        False,
    )
