"""The example of training from Python runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "python" / "estimator.py"


def test_the_example_runs_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "round 10 of 50, train-rmse" in done.stdout
    best = re.search(r"rounds, the best with an rmse of ([\d.]+) minutes", done.stdout)
    assert best is not None
    assert float(best[1]) < 1.1  # of noise with a deviation of 1
    assert "prediction" in done.stdout
    assert done.stderr == ""
