from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlpools_operator.domain.attempt import reports
from tests.support.junk import JUNK


def test_what_json_cannot_hold_is_left_out() -> None:
    assert reports.metrics({"a": math.nan, "b": math.inf, "c": "1", "d": True, "e": 1}) == {"e": 1.0}


_leavings = dict.fromkeys(("message", "step", "metrics", "outputs", "checkpointStep"), JUNK)


@given(st.fixed_dictionaries({"code": st.just(0), "rank": st.just(0), **_leavings}))
def test_whatever_a_pod_leaves_becomes_a_report_or_none(raw: dict[str, Any]) -> None:
    final = reports.read_final(json.dumps(raw))
    assert final is not None
    assert isinstance(final.message, str)
    assert final.step >= 0
    assert all(isinstance(value, str) for value in final.outputs.values())


def test_half_a_url_is_none() -> None:
    assert reports.url("/data/model.ubj") == "/data/model.ubj"
    assert reports.url("/" + "x" * 2000) == ""
