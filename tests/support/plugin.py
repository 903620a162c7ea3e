"""``kubectl mlpools`` in this process, as somebody with a kubeconfig."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mlpools_kubectl.__main__ import mlpools


@dataclass(frozen=True)
class Person:
    """Somebody in a namespace.

    Attributes:
        kubeconfig: with their rights.
        namespace: that they work in.
    """

    kubeconfig: Path
    namespace: str

    def run(self, command: str, *more: str) -> Result:
        """Run a command, whatever becomes of it."""
        where = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        return CliRunner().invoke(mlpools, [command, *more, *where])

    def say(self, command: str, *more: str) -> str:
        """Run a command that has to succeed, and return what it prints."""
        done = self.run(command, *more)
        assert done.exit_code == 0, done.output
        return done.stdout

    def read(self, command: str, *more: str) -> Any:
        """Run a command that has to succeed, and return what it prints as JSON."""
        return json.loads(self.say(command, *more, "--output=json"))

    def fail(self, code: int, command: str, *more: str) -> str:
        """Run a command that has to end with an exit code, and return its one sentence."""
        done = self.run(command, *more)
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        assert done.stderr.startswith("kubectl mlpools: ")
        assert len(done.stderr.splitlines()) == 1
        return done.stderr
