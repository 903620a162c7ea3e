"""What kubectl's completion is told."""

from __future__ import annotations

import sys

import pytest

from mlpools_kubectl import completing


@pytest.mark.parametrize(
    ("words", "proposals", "directive"),
    [
        (["st"], ["start", "stop"], ":4"),
        (["wait", "--ti"], ["--timeout"], ":4"),
        (["top", "-o", ""], ["text", "json"], ":4"),
        (["run", ""], [], ":0"),
        (["wait", "--kubeconfig=/of/nobody", "a"], [], ":4"),
    ],
)
def test_words_are_completed(
    words: list[str],
    proposals: list[str],
    directive: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-mlpools", *words])
    completing.main()
    *told, last = capsys.readouterr().out.splitlines()
    assert [line.partition("\t")[0] for line in told] == proposals
    assert last == directive
