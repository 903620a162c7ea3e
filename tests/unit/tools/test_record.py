"""Measurements are written and shown whether or not they have a target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import record


def test_rows_with_and_without_a_target_are_written_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(record, "FOLDER", tmp_path / "results")
    rows = [
        record.Row("free", 1.5, "s"),
        record.Row("good", 2, "s", target=2),
        record.Row("bad", 3, "s", target=2),
        record.Row("fast", 3, "times", target=2, at_least=True),
        record.Row("slow", 1, "times", target=2, at_least=True),
    ]
    written = json.loads(record.write("some", rows).read_text())
    assert [row["met"] for row in written["rows"]] == [None, True, False, True, False]
    assert written["machine"]
    shown = capsys.readouterr().out
    assert "target 2: met" in shown
    assert "target 2: MISSED" in shown
