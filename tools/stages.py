"""Run the test stages one after the other, each within its bound, and say how long each took.

    python -m tools.stages test          # what every change must pass
    python -m tools.stages test-full     # the same and what is too long for every change
    python -m tools.stages unit chart    # some stages by name

Each stage writes its log to `.state/test/STAGE.log` and its results beside it. A stage that runs for longer
than one and a half times its bound is ended, so that a hang names itself instead of eating the whole run.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from tools.preflight import can_run_cluster
from tools.record import Row
from tools.record import write as record
from tools.steps import last_line

LOGS = Path(".state/test")
#: Environment with the libraries that are too large for every development environment.
LIBRARIES = ".venv-libraries"
OVERRUN = 1.5
#: pytest's last line.
_SUMMARY = re.compile(r"\d+ passed\b.* in [\d.]+s")


@dataclass(frozen=True)
class Stage:
    """One part of the tests.

    Attributes:
        minutes: how long it may take on two cores with nothing cached.
        commands: run in order until one fails; each starts with a path, or with the name of a program of
            the virtual environment or the system.
        full: `make test` goes without it.
        cluster: it needs root on Linux and a real cluster.
        counts: pytest runs here, so that its tests are counted.
    """

    name: str
    minutes: float
    commands: tuple[tuple[str, ...], ...]
    full: bool = False
    cluster: bool = False
    counts: bool = False


@dataclass
class Counts:
    """Tests that ran, over all stages."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, report: Path) -> None:
        """Count what pytest wrote to its JUnit file."""
        for suite in ElementTree.parse(report).iter("testsuite"):
            number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
            failed = number["failures"] + number["errors"]
            self.failed += failed
            self.skipped += number["skipped"]
            self.passed += number["tests"] - failed - number["skipped"]


@dataclass
class Outcome:
    """How a run of stages went."""

    counts: Counts = field(default_factory=Counts)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def _pytest(name: str, folder: str, *options: str, program: str = "pytest") -> tuple[str, ...]:
    return (program, folder, "-q", "--durations=5", f"--junitxml={LOGS / name}.xml", *options)


def _old_python() -> tuple[str, ...]:
    """See that what runs in images of others asks nothing of an old Python's library that it has not.

    ruff, which has the list of these files, knows about syntax only.
    """
    targets = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["ruff"]["per-file-target-version"]
    (oldest,) = {f"{target[2]}.{target[3:]}" for target in targets.values()}
    places = [str(place) for pattern in targets for place in Path().glob(pattern)]
    return ("vermin", f"--target={oldest}-", "--no-tips", "--violations", *places)


def stages(*, full: bool) -> tuple[Stage, ...]:
    """All stages in their order: what is quick and most likely to fail comes first."""
    # Every change is held to the same examples of Hypothesis; the full tests look for others.
    chosen = () if full else ("-m", "not full", "--hypothesis-seed=0")
    built = ("cluster", "services") if full else ("cluster",)
    installed = ("browser",) if full else ()
    return (
        Stage("lint", 1, (("ruff", "check", "."), ("ruff", "format", "--check", "."), _old_python())),
        Stage("types", 1, (("mypy",),)),
        Stage("layers", 0.5, (("lint-imports",),)),
        Stage("generated", 0.5, (("python", "-m", "mlpools_operator.crdgen", "--check"),)),
        Stage("unit", 4, (_pytest("unit", "tests/unit", "-n2", "--dist=loadfile", *chosen),), counts=True),
        Stage(
            "gangs",
            25 if full else 7,  # with each step at which a batch inference may lose a worker
            (_pytest("gangs", "tests/gangs", "-n2", "--dist=worksteal", *chosen),),
            counts=True,
        ),
        Stage(
            "binaries",
            20,
            (("python", "-m", "tools.preflight", *installed), ("python", "-m", "tools.binaries", *built)),
        ),
        Stage("images", 6, (("python", "-m", "tools.images"),), cluster=True),
        Stage(
            "images-full", 20, (("python", "-m", "tools.images", "runtime-full"),), full=True, cluster=True
        ),
        Stage(
            "integration",
            10,
            (_pytest("integration", "tests/integration", "-n2", "--dist=loadfile", *chosen),),
            counts=True,
        ),
        Stage("chart", 3, (_pytest("chart", "tests/chart", *chosen),), counts=True),
        Stage(
            "libraries",
            15,
            (
                ("make", "--no-print-directory", f"{LIBRARIES}/ready"),
                _pytest("libraries", "tests/libraries", program=f"{LIBRARIES}/bin/pytest"),
                # Not in one process with PyTorch, see tests/libraries/conftest.py.
                _pytest(
                    "libraries-tensorflow",
                    "tests/libraries/test_tensorflow.py",
                    program=f"{LIBRARIES}/bin/pytest",
                ),
            ),
            full=True,
            counts=True,
        ),
        Stage("e2e", 25, (_pytest("e2e", "tests/e2e", *chosen),), cluster=True, counts=True),
    )


def run(stage: Stage, outcome: Outcome) -> bool:
    """Run one stage; its output goes to its log, its verdict to the screen."""
    log = LOGS / f"{stage.name}.log"
    for report in LOGS.glob(f"{stage.name}*.xml"):
        report.unlink()
    print(f"  · {stage.name} …", flush=True)
    started = time.monotonic()
    deadline = started + stage.minutes * 60 * OVERRUN
    with log.open("w") as out:
        problem = next(
            (words for command in stage.commands if (words := _execute(command, out, deadline))), ""
        )
    took = outcome.seconds[stage.name] = round(time.monotonic() - started, 1)
    for report in LOGS.glob(f"{stage.name}*.xml"):
        outcome.counts.add(report)
    if problem:
        print(f"  ✗ {stage.name} ({took} s): {problem}: {last_line(log)} (log: {log})", flush=True)
        print(
            "".join(f"    {line}\n" for line in log.read_text(errors="replace").splitlines()[-60:]),
            flush=True,
        )
        return False
    ends = [line.strip("= ") for line in log.read_text().splitlines() if _SUMMARY.search(line)]
    summary = f": {'; '.join(ends)}" if ends else ""
    print(f"  ✓ {stage.name} ({took} s){summary}", flush=True)
    return True


def find_program(name: str) -> str:
    """Return the path of a program: this virtual environment's comes before the system's."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return shutil.which(name, path=folders) or name


def _execute(command: Sequence[str], out: IO[str], deadline: float) -> str:
    """Run a command in a process group of its own; return what went wrong."""
    process = subprocess.Popen(
        [find_program(command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        code = process.wait(timeout=max(deadline - time.monotonic(), 1))
    except subprocess.TimeoutExpired:
        _end(process)
        return f"ended after {OVERRUN} times its bound"
    except KeyboardInterrupt:
        _end(process)
        raise
    return f"{command[0]} failed" if code else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to stop, so that a cluster of the tests is taken down; then insist."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main(arguments: Sequence[str]) -> int:
    """Run the stages named; the exit code is 0 when all of them passed."""
    full = "test-full" in arguments
    known = stages(full=full)
    names = [stage.name for stage in known]
    everything = full or "test" in arguments or not arguments
    wanted = [stage.name for stage in known if full or not stage.full] if everything else list(arguments)
    if unknown := sorted(set(wanted) - set(names)):
        print(
            f"There is no stage {unknown[0]!r}; there are: test, test-full, {', '.join(names)}.",
            file=sys.stderr,
        )
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    outcome = Outcome()
    obstacle = can_run_cluster()
    # Said to this program alone: the operator refuses settings that it does not know.
    required = "e2e" in os.environ.pop("MLPOOLS_REQUIRE", "").split(",")
    if obstacle and required:
        print(f"  ✗ e2e is required (MLPOOLS_REQUIRE) and cannot run here: {obstacle}")
        return 1
    if obstacle:
        print(f"  - the end-to-end part cannot run here and is left out: {obstacle}")
    for stage in known:
        if stage.name in wanted and not (stage.cluster and obstacle) and not run(stage, outcome):
            outcome.failed.append(stage.name)
    print("\n" + "  ".join(f"{name} {seconds:.0f} s" for name, seconds in outcome.seconds.items()))
    counts = outcome.counts
    print(f"{counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped")
    if full:
        record("test-full", [Row(f"stage {name}", seconds, "s") for name, seconds in outcome.seconds.items()])
    if outcome.failed:
        print(f"Failed: {', '.join(outcome.failed)}.")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
