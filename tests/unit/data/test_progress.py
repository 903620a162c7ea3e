"""A bar for whoever watches, and nothing else."""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data import DataConnector, progress

TABLE = pa.table({"x": range(10)})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ZMQInteractiveShell:
    """Named as a notebook's kernel."""


def watch(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal where stderr is; pytest puts its own there between fixtures and tests."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("CI", raising=False)
    return terminal


def make_slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    ticks = itertools.count(0.0, seconds)
    monkeypatch.setattr(progress, "_clock", lambda: next(ticks))


def test_a_long_read_is_shown_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    make_slow(monkeypatch, 1.5)
    assert list(progress.watched([TABLE] * 4, 40)) == [TABLE] * 4
    shown = screen.getvalue()
    assert "Reading:  50%" in shown
    assert "20.0/40.0" in shown
    assert shown.endswith("\r")


def test_whole_tables_are_watched_up_to_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    make_slow(monkeypatch, 3.0)
    pq.write_table(TABLE, tmp_path / "a.parquet", row_group_size=2)
    assert len(DataConnector.from_parquet(str(tmp_path)).to_pandas(limit=8)) == 8
    assert "/8.00" in screen.getvalue()


def test_a_read_of_unknown_length_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    make_slow(monkeypatch, 3.0)
    assert len(list(progress.watched([TABLE] * 2, None))) == 2
    assert "Reading: 10.0 rows" in screen.getvalue()


def test_a_short_read_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    make_slow(monkeypatch, 0.1)
    assert DataConnector.from_dataframe(TABLE).to_arrow().num_rows == 10
    assert screen.getvalue() == ""


def test_planning_and_counting_many_files_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    make_slow(monkeypatch, 3.0)
    for i in range(4):
        (tmp_path / f"{i}.csv").write_text("x\n1\n2\n")
    connector = DataConnector.from_csv(str(tmp_path))
    assert "Listing: 1.00 files" in screen.getvalue()
    assert "Looking into files:  25%" in screen.getvalue()
    assert connector.num_rows == 8
    assert "Counting rows:  25%" in screen.getvalue()


def test_whoever_waits_for_a_plan_and_a_count_can_end_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n2\n")

    def stop() -> None:
        raise TimeoutError

    connector = DataConnector.from_csv(str(tmp_path))
    with progress.reported_to(stop):
        with pytest.raises(TimeoutError):
            DataConnector.from_csv(str(tmp_path))
        with pytest.raises(TimeoutError):
            _ = connector.num_rows


def test_a_read_that_fails_clears_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    make_slow(monkeypatch, 3.0)

    def broken() -> object:
        yield TABLE
        yield TABLE
        raise OSError

    with pytest.raises(OSError) as caught:
        list(progress.watched(broken(), 40))  # type: ignore[arg-type]
    assert caught.traceback  # and with it the frame that has the bar
    assert screen.getvalue().endswith(" \r")


def test_nobody_watches_a_pipe_or_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    watch(monkeypatch)
    assert progress.is_watched()
    monkeypatch.setenv("CI", "true")
    assert not progress.is_watched()
    monkeypatch.delenv("CI")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not progress.is_watched()


def test_a_notebook_is_watched_though_it_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress.is_watched()
    make_slow(monkeypatch, 3.0)
    assert len(list(progress.watched([TABLE] * 2, 20))) == 2
