"""What the user says about a script."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.api.v1alpha1.meta import Model, Rule, exactly_one
from mlpools_operator.api.v1alpha1.program import File, ModuleName, Words


class ScriptSpec(Model):
    """A program of whatever kind, run on every node, or once beside a Ray cluster of all nodes."""

    command: Annotated[Words, Field(min_length=1)] | None = None
    """A program and its arguments. It need not be Python, nor need the image have Python."""
    module: ModuleName | None = None
    """Python module that runs as __main__, in the code or in the image."""
    file: File | None = None
    """Python file that runs as __main__: a path in the code, or an absolute one in the image or on a
    volume."""
    args: Words = ()
    """Arguments of the module, the file or the command."""
    launcher: Literal["none", "torchrun", "ray"] = "none"
    """Who starts it. none: one process a worker, with the environment that torchrun gives. torchrun:
    PyTorch's torchrun on every node. ray: a Ray cluster over all nodes comes up, and then it runs once, on
    rank 0."""
    code: CodeSpec | None = None
    """Code that the image does not have."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(("command", "module", "file"), "Say what runs: exactly one of command, module and file."),
    )
