"""Types of the fields that name a program to run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

#: Python module, such as team.train.
ModuleName = Annotated[
    str, StringConstraints(max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")
]
#: Python file.
File = Annotated[str, StringConstraints(max_length=1024, pattern=r"\.py$")]
_Word = Annotated[str, StringConstraints(max_length=4096)]
#: Words of a command line.
Words = Annotated[tuple[_Word, ...], Field(max_length=128)]
