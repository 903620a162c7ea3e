"""What the user says about a PyTorch program."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.api.v1alpha1.meta import Model, Rule, exactly_one
from mlpools_operator.api.v1alpha1.program import File, ModuleName, Words

_Value = Annotated[str, StringConstraints(max_length=4096)]


class PyTorchSpec(Model):
    """A program that every worker runs, with the environment that torchrun gives."""

    module: ModuleName | None = None
    """Python module that runs as __main__."""
    file: File | None = None
    """Python file that runs as __main__: a path in the code, else absolute in the image or on a volume."""
    code: CodeSpec | None = None
    """Where the program comes from, if the image does not have it. It is the working folder of every pod."""
    command: Annotated[Words, Field(min_length=1)] | None = None
    """A program and its arguments. It starts later than a module or a file, which need no second process."""
    args: Words = ()
    """Arguments of the module, the file or the command."""
    backend: Literal["auto", "nccl", "gloo"] = "auto"
    """Backend of the collectives that get_context().get_default_backend() names. auto: nccl if the workers
    have GPUs, else gloo."""
    hyper_params: dict[str, _Value] = Field(default_factory=dict, max_length=256)
    """Hyper-parameters by name, for get_context().get_hyper_params()."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(("command", "module", "file"), "Say what runs: exactly one of command, module and file."),
    )
