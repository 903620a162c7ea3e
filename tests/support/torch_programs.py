"""Programs for PyTorch jobs, run under real supervisors on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlpools.contract.ends import Final
from tests.support.pods import Pods, task


def program(folder: Path, text: str, **section: Any) -> dict[str, Any]:
    """Write a program, and return the fields of the task that runs it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(text)
    return {"framework": "pytorch", "spec": {"file": str(folder / "train.py"), **section}}


def run(
    folder: Path, text: str, *, environ: dict[str, str] | None = None, **changes: Any
) -> tuple[list[Final], str]:
    """Run a program, by default on two nodes; return how its pods ended and what they wrote."""
    given = task(folder / "out", **{"nodes": 2, **program(folder, text), **changes})
    with Pods(given, folder / f"pods-{given.attempt}", environ=environ or {}) as pods:
        finals = pods.wait(150)
        return finals, "".join(pod.output() for pod in pods.pods)
