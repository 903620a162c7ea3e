"""What a run makes of a document, beside running it: what it refuses, where values go, what it keeps."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mlpools.contract.wiring import ATTEMPT_ENV, JOB_ENV
from mlpools.errors import CodeNotReadable, InvalidSpec, OutputNotWritable
from mlpools.notebook.executed import Executed
from mlpools.notebook.headless import parameters
from tests.support.documents import NAME, Documents, code

VALUES = {"a": None, "b": True, "c": {"deep": [[1, None], 0.5]}, "d": 'it\'s "so"\n\\'}


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return Documents(tmp_path)


def executed(documents: Documents) -> Executed:
    return Executed(documents.workspace, NAME, documents.output)


def sources(documents: Documents, given: dict[str, Any]) -> list[str]:
    """Put values in, and return the cells of what it becomes."""
    made = executed(documents)
    made.put_in(given)
    made.keep("Complete")
    return [cell.source for cell in documents.became().cells]


def test_values_are_what_they_were_in_the_manifest(documents: Documents) -> None:
    documents.write(code("first"), code("a = 1", "parameters"), code("last"))
    first, defaults, injected, last = sources(documents, VALUES)
    assert (first, defaults, last) == ("first", "a = 1", "last")
    found: dict[str, Any] = {}
    exec(injected, found)
    assert {name: found[name] for name in VALUES} == VALUES


@pytest.mark.parametrize(
    ("cells", "given", "wanted"),
    [
        ([code("x")], {"a": 1}, ["# Parameters\na = 1", "x"]),
        ([], {"a": 1}, ["# Parameters\na = 1"]),
        (
            [code("a = 2", "parameters"), code("x"), code("a = 3", "injected-parameters"), code("y")],
            {"a": 1},
            ["a = 2", "x", "# Parameters\na = 1", "y"],
        ),
        ([code("a = 3", "injected-parameters")], {}, ["a = 3"]),
    ],
)
def test_the_cell_with_values_is_where_papermill_has_it(
    documents: Documents, cells: list[Any], given: dict[str, Any], wanted: list[str]
) -> None:
    documents.write(*cells)
    assert sources(documents, given) == wanted


def test_an_older_document_stays_one(documents: Documents) -> None:
    documents.write(code("x"), minor=2)
    sources(documents, {"a": 1})
    assert documents.became().nbformat_minor == 2


@pytest.mark.parametrize("word", ["a b=1", "1=1", "=1", "a;b=1", "for=1", "a.b=1", "day"])
def test_what_is_no_parameter_is_refused_in_a_sentence(word: str) -> None:
    with pytest.raises(
        InvalidSpec, match=r"^('.*' cannot be a parameter|The value of parameter day is no JSON): "
    ):
        parameters(["fine=[null]", word])


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "no JSON",
        "[]",
        '{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{"cell_type": "code"}]}',
        '{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": null}, "cells": []}',
        '{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}',
    ],
)
def test_what_is_no_notebook_is_said(documents: Documents, content: str) -> None:
    (documents.workspace / NAME).write_text(content)
    with pytest.raises(CodeNotReadable, match=rf"^{NAME} is no notebook of Jupyter: [^\n]+\.$"):
        executed(documents)


def test_what_is_not_there_is_said(documents: Documents) -> None:
    with pytest.raises(CodeNotReadable, match=rf"^There is no notebook {NAME} in the workspace"):
        executed(documents)


def test_nothing_outside_of_the_workspace_is_run(documents: Documents) -> None:
    documents.write(code("x"))
    (documents.workspace / NAME).rename(documents.workspace.parent / "daily.ipynb")
    for name in (
        "../daily.ipynb",
        "reports/../../daily.ipynb",
        str(documents.workspace.parent / "daily.ipynb"),
    ):
        with pytest.raises(CodeNotReadable, match="leads out of the workspace"):
            Executed(documents.workspace, name, documents.output)


def test_what_earlier_runs_left_is_not_taken_for_this_one(documents: Documents) -> None:
    old = code("x")
    old.outputs, old.execution_count = [nbformat.v4.new_output("stream", text="old")], 7
    old.metadata["execution"] = {"iopub.execute_input": "2020-01-01T00:00:00Z"}
    documents.write(old, widgets={"application/vnd.jupyter.widget-state+json": {"state": {"x": {}}}})
    sources(documents, {})
    [cell], metadata = documents.cells, documents.became().metadata
    assert (cell.outputs, cell.execution_count, "execution" in cell.metadata) == ([], None, False)
    assert "widgets" not in metadata


def test_an_attempt_that_was_lost_keeps_what_it_left(
    documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOB_ENV, "team-a/nb-reports")
    documents.write(code("x"))
    for attempt in (1, 2, 3):
        monkeypatch.setenv(ATTEMPT_ENV, str(attempt))
        made = executed(documents)
        made.make_way()
        made.keep("Running" if attempt < 3 else "Complete")
    names = ("daily.before-attempt-2.ipynb", "daily.before-attempt-3.ipynb", "daily.ipynb")
    runs = [documents.became(name).metadata["mlpools"] for name in names]
    assert [(run["run"], run["attempt"], run["state"]) for run in runs] == [
        ("team-a/nb-reports", 1, "Running"),
        ("team-a/nb-reports", 2, "Running"),
        ("team-a/nb-reports", 3, "Complete"),
    ]


def test_a_volume_that_takes_nothing_is_said(documents: Documents) -> None:
    documents.write(code("x"))
    documents.output.parent.write_text("a file in the place of the folder")
    with pytest.raises(OutputNotWritable, match=r"daily\.ipynb cannot be written: "):
        executed(documents).keep("Running")


@contextmanager
def full_volume() -> Iterator[None]:
    """Let no file become longer than a few bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_copy_that_cannot_be_written_leaves_the_one_before(documents: Documents) -> None:
    documents.write(code("x"))
    made = executed(documents)
    made.keep("Running", "as it was")
    with full_volume(), pytest.raises(OutputNotWritable, match=r"daily\.ipynb cannot be written: "):
        made.keep("Complete")
    assert documents.state == ("Running", "as it was")
    assert [it.name for it in documents.output.iterdir()] == ["daily.ipynb"]
