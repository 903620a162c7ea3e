"""What a job says about its PyTorch program."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mlpools.errors import InvalidSpec, at_hand

_PROGRAMS = ("module", "file", "command", "function")
_BACKENDS = ("auto", "nccl", "gloo")


@dataclasses.dataclass(frozen=True)
class Section:
    """The ``pytorch`` section of a job's spec. Exactly one of the first four says what runs.

    Attributes:
        module: name of a Python module that runs as ``__main__``.
        file: path of a Python file that runs as ``__main__``.
        command: a program and its arguments.
        function: path of a pickled function without arguments; ``PyTorchDistributor`` writes it.
        args: what the module or the file finds in ``sys.argv``.
        backend: of the collectives: ``auto``, ``nccl`` or ``gloo``.
        hyper_params: what the program finds in its context.
    """

    module: str = ""
    file: str = ""
    command: tuple[str, ...] = ()
    function: str = ""
    args: tuple[str, ...] = ()
    backend: str = "auto"
    hyper_params: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Section:
        """Read the section as the operator hands it over.

        Raises:
            InvalidSpec: it does not name one program, or a backend that there is not.
        """
        section = cls(
            module=spec.get("module") or "",
            file=spec.get("file") or "",
            command=tuple(spec.get("command") or ()),
            function=spec.get("function") or "",
            args=tuple(spec.get("args") or ()),
            backend=spec.get("backend") or "auto",
            hyper_params=dict(spec.get("hyperParams") or {}),
        )
        if sum(bool(getattr(section, name)) for name in _PROGRAMS) != 1:
            raise InvalidSpec("pytorch needs exactly one of module, file and command: what is to run.")
        if section.backend not in _BACKENDS:
            hint = at_hand(section.backend, _BACKENDS, "Backends")
            raise InvalidSpec(f"There is no pytorch.backend {section.backend!r}. {hint}")
        return section

    @property
    def program(self) -> str:
        """What runs, in a word."""
        return self.module or self.file or " ".join(self.command) or "train_func"

    @property
    def identity(self) -> dict[str, Any]:
        """What another job must have in common to go on from this one's checkpoint."""
        return {"program": self.program, "args": list(self.args), "hyperParams": dict(self.hyper_params)}
