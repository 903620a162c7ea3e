"""What a job says about its script."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
from collections.abc import Mapping
from typing import Any

from mlpools.contract.tasks import Task
from mlpools.errors import InvalidSpec
from mlpools.train import user_code

NONE, TORCHRUN, RAY = "none", "torchrun", "ray"
#: The library that a launcher is of.
_LIBRARIES = {TORCHRUN: "torch", RAY: "ray"}


@dataclasses.dataclass(frozen=True)
class Section:
    """The fields of ``spec.script``; exactly one of ``command``, ``module`` and ``file`` is not empty."""

    command: tuple[str, ...] = ()
    module: str = ""
    file: str = ""
    args: tuple[str, ...] = ()
    launcher: str = NONE

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Section:
        """Read the section as the operator hands it over."""
        return cls(
            command=tuple(spec.get("command") or ()),
            module=str(spec.get("module") or ""),
            file=str(spec.get("file") or ""),
            args=tuple(spec.get("args") or ()),
            launcher=str(spec.get("launcher") or NONE),
        )

    @property
    def name(self) -> str:
        """What runs, for messages."""
        return self.module or self.file or self.command[0]

    def check(self, task: Task) -> None:
        """See that what is to run is there, and what launches it.

        Raises:
            CodeNotReadable: the script is not; with the names there are.
            InvalidSpec: the image lacks the launcher.
        """
        library = _LIBRARIES.get(self.launcher)
        if library and importlib.util.find_spec(library) is None:
            raise InvalidSpec(f"This image cannot run script.launcher {self.launcher}: it has no {library}.")
        if self.file:
            user_code.find_file(task, self.file)
        elif self.module:
            user_code.find_module(task, self.module)

    def command_line(self, task: Task) -> list[str]:
        """Return the program and its arguments."""
        if self.command:
            return [*self.command, *self.args]
        return [sys.executable, *self._python(task)]

    def under_torchrun(
        self, task: Task, address: str, port: int, environ: Mapping[str, str] = os.environ
    ) -> list[str]:
        """Return the program that starts the script's processes on this node, with torch.distributed.

        Args:
            task: of the job.
            address: of rank 0, where the agents of the nodes meet.
            port: of rank 0.
            environ: of this worker.
        """
        agent = [
            *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={task.nodes}"),
            *(f"--nproc-per-node={environ['LOCAL_WORLD_SIZE']}", f"--node-rank={environ['GROUP_RANK']}"),
            *(f"--master-addr={address}", f"--master-port={port}", "--max-restarts=0"),
        ]
        if self.command:
            return [*agent, "--no-python", *self.command, *self.args]
        return [*agent, *self._python(task)]

    def _python(self, task: Task) -> list[str]:
        if self.module:
            return ["-m", self.module, *self.args]
        return [str(user_code.find_file(task, self.file)), *self.args]
