"""Workers that stand still after a round until a test lets them go on, however fast the machine is."""

from __future__ import annotations

import sys
from pathlib import Path

#: The round that all ranks stand at.
GATE = 5
_WORKER = """
import pathlib, sys, time
from mlpools.train.reporter import Reporter
tell, go = Reporter.step, pathlib.Path(sys.argv[1])
def step(reporter, **values):
    tell(reporter, **values)
    if values["step"] == {gate}:
        reporter.flush()
        while not go.exists(): time.sleep(0.01)
Reporter.step = step
from mlpools.runtime.launch import main
main()
"""


def gated(go: Path) -> list[str]:
    """Return the command of a worker that has reported round ``GATE`` and goes on when a file is there."""
    return [sys.executable, "-c", _WORKER.format(gate=GATE), str(go)]
