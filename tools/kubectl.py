"""A cluster as `kubectl` sees it: the few calls that the quickstart, the tests and the benchmarks share."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.binaries import binary
from tools.steps import ToolError


@dataclass(frozen=True)
class Kubectl:
    """One cluster.

    Attributes:
        kubeconfig: its file; None = the user's own.
        context: a name in that file; None = the current one.
        prefer_own: use the user's kubectl and helm, where they have them, instead of building ours.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    prefer_own: bool = False

    def program(self, name: str) -> str:
        """The path of `kubectl` or `helm`."""
        own = shutil.which(name) if self.prefer_own else None
        return own or str(binary(name))

    def command(self, *arguments: str) -> list[str]:
        """The whole command line of one call."""
        options = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        options += [f"--context={self.context}"] if self.context else []
        return [self.program("kubectl"), *options, *arguments]

    def run(self, *arguments: str, stdin: str | bytes = b"", seconds: float = 120) -> str:
        """Run one command and return what it printed.

        Raises:
            ToolError: it failed; with kubectl's own last line.
        """
        text = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            done = subprocess.run(
                self.command(*arguments), input=text, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"kubectl {arguments[0]} gave no answer within {seconds:.0f} s.") from error
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            if arguments[0] == "exec":  # what the program said comes before kubectl's own word about its end
                words = [" ".join(words[-2:])]
            raise ToolError(f"kubectl {' '.join(arguments[:3])} failed: {words[-1]}")
        return done.stdout.decode(errors="replace")

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """One object, or None where there is none."""
        text = self.run("get", kind, name, f"--namespace={namespace}", "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, *, selector: str = "", namespace: str = "default") -> list[dict[str, Any]]:
        """All objects of a kind in a namespace, by label."""
        text = self.run("get", kind, f"--namespace={namespace}", f"--selector={selector}", "-o", "json")
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items

    def apply(self, manifest: str, *, namespace: str = "default") -> str:
        """Apply YAML or JSON text, as a person with `kubectl apply -f` does."""
        return self.run("apply", f"--namespace={namespace}", "-f", "-", stdin=manifest)

    def delete(self, kind: str, name: str, *, namespace: str = "default") -> None:
        """Delete an object, if it is there, and wait until it is gone."""
        self.run("delete", kind, name, f"--namespace={namespace}", "--ignore-not-found", "--wait=true")

    def helm(self, *arguments: str, seconds: float = 300) -> str:
        """Run Helm on the same cluster.

        Raises:
            ToolError: it failed; with Helm's own last line.
        """
        options = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        options += [f"--kube-context={self.context}"] if self.context else []
        command: Sequence[str] = [self.program("helm"), *options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            words = done.stderr.strip().splitlines() or ["no message"]
            raise ToolError(f"helm {arguments[0]} failed: {words[-1]}")
        return done.stdout
