"""The form of all measurements: what was measured, against what target, on which machine and commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "bench" / "results"


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        what: what was measured, and how often.
        value: the figure, in `unit`.
        unit: such as `s` or `requests`.
        peer: what it was compared with in the same run, empty without one.
        ratio: value by the peer's.
        target: the bound that the project set itself, None without one.
        at_least: the target is a lower bound, as of a speed.
        met: whether it was met.
    """

    what: str
    value: float
    unit: str
    peer: str = ""
    ratio: float | None = None
    target: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the value is within the target."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def machine() -> str:
    """Cores, memory and kernel of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def write(name: str, rows: list[Row]) -> Path:
    """Write the rows as `bench/results/NAME.json`, print them, and return the file's path."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    document = {
        "commit": commit.stdout.strip(),
        "machine": machine(),
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    for row in rows:
        verdict = "" if row.target is None else f" (target {row.target:g}: {'met' if row.met else 'MISSED'})"
        print(f"  {row.value:10.4g} {row.unit:9} {row.what}{verdict}")
    print(f"  → {path.relative_to(ROOT)}")
    return path
