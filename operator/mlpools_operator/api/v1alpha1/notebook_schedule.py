"""Schedules of notebooks: which document runs without anybody, when, and with which values."""

from __future__ import annotations

import json
import keyword
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import Word
from mlpools_operator.api.v1alpha1.meta import Extension, Model, Rule
from mlpools_operator.api.v1alpha1.schedule import Schedule

#: A value is a word of the run's command line, beside its name.
_VALUE_LENGTH = 3800

#: Inside the workspace: neither absolute nor with a part that begins with two dots.
_Document = Annotated[
    str,
    StringConstraints(min_length=7, max_length=1024, pattern=r"^(\.?[^/.][^/]*/)*\.?[^/.][^/]*\.ipynb$"),
]

_Parameters = Annotated[
    dict[str, Any],
    Field(max_length=64),
    Extension({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    Rule(
        None,
        "parameters are variables of Python: names of letters, digits and _, and no words of the language.",
        lambda given: all(it.isascii() and it.isidentifier() and not keyword.iskeyword(it) for it in given),
    ),
    Rule(
        None,
        f"a parameter has at most {_VALUE_LENGTH} characters as JSON: put larger data into a file.",
        lambda given: all(len(json.dumps(value)) <= _VALUE_LENGTH for value in given.values()),
    ),
]


class NotebookSchedule(Schedule):
    """When a document of the workspace runs, without anybody and without the notebook's server."""

    notebook: _Document
    """The document, as its path in the workspace, such as reports/daily.ipynb."""
    parameters: _Parameters = Field(default_factory=dict)
    """Values by name, put in as papermill does: in a cell after the one tagged parameters, else before the
    first. {date} and {time} in texts become the time of the run."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=315_360_000)] | None = None
    """Seconds for which a run may hold its node; then it fails. Absent: no limit."""
    suspend: bool = False
    """Whether no runs are made. The notebook's own suspend does not matter for them."""

    rules: ClassVar[tuple[Rule, ...]] = ()


class WorkspaceRun(Model):
    """The run that has a notebook's workspace, which one pod alone may have."""

    name: Word
    """TrainingJob of the run."""
    uid: Word = ""
    """Its UID. Empty until it is made."""
