"""``kubectl mlpools`` in this process, as somebody with a kubeconfig."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mlpools_kubectl.__main__ import mlpools

ROOT = Path(__file__).parents[2]


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

    @contextmanager
    def opened(self, name: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        """Open a notebook in a process of its own; yields the URL and the process."""
        where = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", "--output=json"]
        command = [sys.executable, "-m", "mlpools_kubectl", "open", name, *where]
        search = os.pathsep.join(str(ROOT / source) for source in ("workloads", "operator"))
        environ = {**os.environ, "PYTHONPATH": search, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
        ) as process:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("}"):
                    break
            try:
                yield json.loads("".join(lines))["url"], process
            finally:
                process.kill()
