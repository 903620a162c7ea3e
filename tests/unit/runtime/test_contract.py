"""The documents that cross the border between operator and pods."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.contract.ends import FINAL_MAX_BYTES, REASONS, Exit, Final
from mlpools.contract.reports import Note, Report
from mlpools.contract.tasks import Task
from mlpools.document import ContractError

texts = st.text(max_size=300) | st.text(alphabet='\\"\n\x00é🙂', min_size=1_000, max_size=9_000)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50, deadline=None)
@given(
    texts,
    texts,
    st.dictionaries(st.text(max_size=40), numbers, max_size=60),
    st.dictionaries(st.sampled_from(["modelURL", "logsURL", "resultURL"]), texts),
)
def test_a_termination_message_always_fits(
    message: str, traceback: str, metrics: dict[str, float], outputs: dict[str, str]
) -> None:
    final = Final(23, 7, 3, message, traceback, step=9, metrics=metrics, outputs=outputs, checkpoint_step=8)
    text = final.encode()
    assert len(text) <= FINAL_MAX_BYTES
    read = Final.from_json(text.decode())
    assert (read.code, read.rank, read.attempt, read.step, read.checkpoint_step) == (23, 7, 3, 9, 8)
    assert message.startswith(read.message)
    assert traceback.endswith(read.traceback)
    if len(final.to_json().encode()) <= FINAL_MAX_BYTES:
        assert read == final


def test_the_traceback_goes_first_then_metrics_then_the_message() -> None:
    long = Final(10, 0, message="m" * 3_000, traceback="t" * 3_000, metrics={"eval-rmse": 1.0})
    cut = Final.from_json(long.encode().decode())
    assert cut.message == long.message
    assert cut.metrics == long.metrics
    assert 0 < len(cut.traceback) < 1_000
    longer = Final(
        10, 0, message="m" * 5_000, traceback="t", metrics={"eval-rmse": 1.0}, outputs={"logsURL": "/x"}
    )
    cut = Final.from_json(longer.encode().decode())
    assert (cut.traceback, cut.metrics, cut.outputs) == ("", {}, {"logsURL": "/x"})
    assert 3_000 < len(cut.message) < 5_000


@given(st.builds(Report, phase=st.text(), step=st.integers(), metrics=st.dictionaries(st.text(), numbers)))
def test_documents_survive_the_way(report: Report) -> None:
    assert Report.from_json(report.to_json()) == report


def test_an_empty_section_is_not_lost() -> None:
    task = Task("ns", "job", "uid", 1, 1, "host", "xgboost", spec={}, data={}, output={}, checkpoint={})
    assert Task.from_json(task.to_json()) == task


def test_keys_are_camel_case_and_unknown_ones_are_ignored() -> None:
    raw = json.loads(Note(total_steps=3, checkpoint_step=0).to_json())
    assert raw == {"totalSteps": 3, "checkpointStep": 0}
    assert Note.from_dict({**raw, "fromTheFuture": 1}) == Note(total_steps=3, checkpoint_step=0)


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"rank": 0}'])
def test_what_is_no_document_is_refused_in_words(text: str) -> None:
    with pytest.raises(ContractError, match="This Final document is"):
        Final.from_json(text)


def test_every_failure_has_a_reason() -> None:
    assert set(REASONS) == set(Exit) - {Exit.DONE}
    assert len(set(REASONS.values())) == len(REASONS)
