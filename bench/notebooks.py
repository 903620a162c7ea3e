"""What notebooks that run cost the operator, before a real API server and its controllers.

    python -m bench.notebooks                  # 200 notebooks (some three minutes)
    python -m bench.notebooks --notebooks 20 --print

Their pods run nothing; what their supervisors would tell is answered by a process of this machine: that
somebody uses them. So each look is news, which is the most that a notebook can cost while it runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench.scale import figures
from bench.scale.cluster import Cluster, cluster
from tests.support.kube import Object
from tests.support.manifests import manifest
from tests.support.operator import Operator
from tests.support.waiting import wait_for
from tools.record import Row, write

NAMESPACES = tuple(f"team-{number}" for number in range(10))
#: `lastActivityTime` is true to within a minute: in so long each one has moved.
SECONDS = 120.0
#: Of the operator, in percent of a core.
CPU = 5.0
_LONGEST = 900.0


def make(made: Cluster, number: int) -> float:
    """Start so many notebooks, and return the seconds until all serve."""
    began = time.monotonic()
    made.kube.create(manifest("ComputePool", "cpu", {"maxNodes": number}))
    wanted = [{"name": f"nb-{it}", "space": NAMESPACES[it % len(NAMESPACES)]} for it in range(number)]
    made.each(lambda kube, it: kube.create(manifest("NotebookRuntime", it["name"]), it["space"]), wanted)
    wait_for("all that serve", lambda: len(serving(made)) == number, _LONGEST, every=1)
    return time.monotonic() - began


def serving(made: Cluster) -> dict[str, str]:
    """Return when each notebook that runs was used last, by name."""
    items: list[Object] = [it for space in NAMESPACES for it in made.kube.list("NotebookRuntime", space)]
    running = (it for it in items if it.get("status", {}).get("phase") == "Running")
    return {it["metadata"]["name"]: it["status"]["lastActivityTime"] for it in running}


def run(made: Cluster, operator: Operator, number: int) -> list[Row]:
    """Start the notebooks, let them be used, and return what that cost."""
    started = make(made, number)
    time.sleep(20)  # what the start left to do
    before, then = figures.snapshot(operator), serving(made)
    time.sleep(SECONDS)
    did, now = figures.snapshot(operator).since(before), serving(made)
    moved = sum(now[name] > at for name, at in then.items())
    what = f"{number} notebooks that are used"
    minutes = SECONDS / 60
    return [
        Row(f"{number} notebooks: first one made → all serve", started, "s"),
        Row(f"{what}, {SECONDS:.0f} s: lastActivityTime moved", moved, "notebooks", "", None, number, True),
        Row(f"{what}: operator's CPU", 100 * did.cpu / SECONDS, "% of a core", target=CPU),
        Row(f"{what}, a minute: status writes", did.count("notebookruntimes/status") / minutes, "requests"),
        Row(f"{what}, a minute: all writes", did.count() / minutes, "requests"),
        Row(f"{what}: operator's largest memory", figures.memory(operator), "MiB"),
    ]


def measure(number: int) -> list[Row]:
    """Run it all; return what was found."""
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), NAMESPACES) as made:
        operator = made.operator().wait_ready()
        try:
            return run(made, operator, number)
        finally:
            operator.kill()


def main() -> int:
    """Measure and write `bench/results/notebooks.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--notebooks", type=int, default=200)
    parser.add_argument("--print", action="store_true", help="write no file")
    chosen = parser.parse_args()
    rows = measure(chosen.notebooks)
    if chosen.print:
        print("\n".join(f"{row.value:10.4g} {row.unit:12} {row.what}" for row in rows))
    else:
        write("notebooks", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
