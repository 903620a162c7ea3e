"""What the user says about a PyTorch program."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.api.v1alpha1.meta import Model, Rule, exactly_one

_Module = Annotated[
    str, StringConstraints(max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")
]
_File = Annotated[str, StringConstraints(max_length=1024, pattern=r"\.py$")]
_Word = Annotated[str, StringConstraints(max_length=4096)]
_Value = Annotated[str, StringConstraints(max_length=4096)]


class PyTorchSpec(Model):
    """A program that every worker runs, with the environment that torchrun gives."""

    module: _Module | None = None
    """Python module that runs as __main__."""
    file: _File | None = None
    """Python file that runs as __main__: a path in the code, else absolute in the image or on a volume."""
    code: CodeSpec | None = None
    """Where the program comes from, if the image does not have it. It is the working folder of every pod."""
    command: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=128)] | None = None
    """A program and its arguments. It starts later than a module or a file, which need no second process."""
    args: Annotated[tuple[_Word, ...], Field(max_length=128)] = ()
    """Arguments of the module, the file or the command."""
    backend: Literal["auto", "nccl", "gloo"] = "auto"
    """Backend of the collectives that get_context().get_default_backend() names. auto: nccl if the workers
    have GPUs, else gloo."""
    hyper_params: dict[str, _Value] = Field(default_factory=dict, max_length=256)
    """Hyper-parameters by name, for get_context().get_hyper_params()."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(("module", "file", "command"), "Say what runs: exactly one of module, file and command."),
    )
