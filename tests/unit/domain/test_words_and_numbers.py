from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.api.v1alpha1 import Condition, InstanceShape
from mlpools_operator.domain import quantities, times, wording
from mlpools_operator.domain.conditions import ConditionList, holds, since
from tests.support.domain_values import NOW


@given(st.text(max_size=300), st.integers(8, 200))
def test_a_fitted_text_fits_and_is_one_line(text: str, limit: int) -> None:
    fitted = wording.fit(text, limit)
    assert len(json.dumps(fitted, ensure_ascii=False).encode()) - 2 <= limit
    assert "\n" not in fitted
    assert fitted.isprintable()


def test_a_short_text_stays_as_it_is() -> None:
    assert wording.fit("rank 1: KeyError: 'dep_tme'", 40) == "rank 1: KeyError: 'dep_tme'"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "10 s"), (44, "40 s"), (90, "2 min"), (7200, "2 h"), (300_000, "3 days")]
)
def test_durations_are_coarse(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


def test_lists_name_some_and_count_the_rest() -> None:
    assert wording.listing(["a", "b"], 3) == "a, b"
    assert wording.listing(["a", "b", "c", "d", "e"], 3) == "a, b, c and 2 more"


@pytest.mark.parametrize(("quantity", "part"), [("4Gi", "1228Mi"), ("1G", "286Mi"), ("1Ki", "1Mi")])
def test_a_share_of_memory_is_whole_mebibytes(quantity: str, part: str) -> None:
    assert quantities.share_of_bytes(quantity, 0.3) == part


def test_a_shape_requests_what_it_is() -> None:
    shape = InstanceShape(cpu="2", memory="4Gi", ephemeral_storage="20Gi", gpus=2)
    assert quantities.resources(shape) == {
        "cpu": "2",
        "memory": "4Gi",
        "ephemeral-storage": "20Gi",
        "nvidia.com/gpu": "2",
    }
    assert quantities.shape_in_words(shape) == "2 CPU, 4Gi, 2 GPU"


@given(st.floats(0, 4e9))
def test_a_deadline_is_never_early(seconds: float) -> None:
    assert times.seconds(times.stamp(seconds)) <= seconds <= times.seconds(times.deadline(seconds))


def _one(
    previous: tuple[Condition, ...], state: bool, now: float, message: str = ""
) -> tuple[Condition, ...]:
    return ConditionList(previous, now).set("Ready", state, "Because", message).all()


def test_the_transition_time_changes_only_with_the_status() -> None:
    first = _one((), True, NOW)
    same = _one(first, True, NOW + 60, "another message")
    turned = _one(same, False, NOW + 90)
    assert since(first, "Ready") == since(same, "Ready") == NOW
    assert since(turned, "Ready") == NOW + 90
    assert holds(same, "Ready")
    assert not holds(turned, "Ready")


def test_a_long_message_is_cut() -> None:
    (condition,) = _one((), True, NOW, "é" * 4000)
    assert len(condition.message.encode()) <= wording.SENTENCE_BYTES
