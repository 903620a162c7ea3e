"""The learning curve: an extra that no job waits for or fails by."""

from __future__ import annotations

import io
import sys
import threading

import pytest
from PIL import Image

from mlpools.runtime import curve
from mlpools.runtime.curve import learning_curve

ROWS = [{"step": i, "train-rmse": 1 / i, "eval-rmse": 2 / i, "eval-mae": None} for i in range(1, 30)]


def height(png: bytes | None) -> int:
    assert png is not None
    return Image.open(io.BytesIO(png)).height


def test_each_metric_has_a_panel_and_the_sets_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "_SECONDS", 120.0)  # a busy machine draws more slowly
    one = height(learning_curve(ROWS, best_step=7))
    two = height(learning_curve([{**row, "eval-mae": 1.0} for row in ROWS]))
    assert two > 1.5 * one


def test_one_point_is_no_curve(capsys: pytest.CaptureFixture[str]) -> None:
    assert learning_curve(ROWS[:1]) is None
    assert learning_curve([{"step": i, "loss": float("nan")} for i in range(9)]) is None
    assert capsys.readouterr().out == ""


def test_a_long_history_is_thinned_out_and_keeps_its_last_step() -> None:
    rows = [{"step": i, "loss": float(i)} for i in range(100_001)]
    [[steps, _]] = curve._panels(rows)["loss"].values()
    assert len(steps) <= 2_001
    assert steps[-1] == 100_000


def test_without_matplotlib_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert learning_curve(ROWS) is None
    assert "no learning curve: this image has no matplotlib.figure" in capsys.readouterr().out


def test_a_failure_and_a_standstill_are_said_and_no_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError("no fonts")

    monkeypatch.setattr(curve, "_draw", fail)
    assert learning_curve(ROWS) is None
    assert "no learning curve: OSError: no fonts" in capsys.readouterr().out

    released = threading.Event()
    monkeypatch.setattr(curve, "_SECONDS", 0.05)
    monkeypatch.setattr(curve, "_draw", lambda *_: released.wait() and b"")
    assert learning_curve(ROWS) is None
    released.set()
    assert "no learning curve: it was not drawn within" in capsys.readouterr().out
