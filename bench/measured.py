"""One loader in a process of its own: what it takes in seconds, CPU-seconds and memory.

    echo go | python -m bench.measured "Arrow scanner" FOLDER      # what the parent starts

Every batch is touched in the same way: its features are multiplied with a vector (what the smallest model
does), its labels are summed, on one thread. So every value is read once by its consumer.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.higgs import FEATURES
from bench.trees import TREES

#: Ray's processes go seconds after the one that began them. A run waits for such, as long as it is worth it.
_REST_SECONDS, _REST_PERCENT, _REST_LOOK = 10.0, 10.0, 0.3
#: Of several seconds a run takes, some twenty looks at its memory see the peak well enough.
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """What one process did.

    Attributes:
        first: seconds from the end of the imports to the first batch, opening included.
        epochs: seconds of each.
        cpu: CPU-seconds of all epochs, of the process and its descendants.
        rows: of one epoch.
        total: sum of everything that was computed; the same for all loaders.
        imported: what ``private`` was before the first epoch: the libraries' own.
        private: peak of anonymous and shared memory of all its processes in MB; 0 = not watched.
        mapped: peak of files mapped, the decoded cache and the libraries' code, in MB.
    """

    first: float
    epochs: list[float]
    cpu: float
    rows: int
    total: float
    imported: float = 0.0
    private: float = 0.0
    mapped: float = 0.0

    @property
    def rate(self) -> float:
        """Million rows a second over all epochs."""
        return self.rows * len(self.epochs) / sum(self.epochs) / 1e6


def run(name: str, folder: Path, *, cache: Path, watch: bool = False) -> Run:
    """Run a loader in a new process.

    Args:
        name: of the loader.
        folder: the data.
        cache: an empty folder for decoded rows.
        watch: look at its memory; it takes a few percent of the speed.
    """
    rest()
    process = _start([name, str(folder)], cache)
    imported = memory(process.pid)[0] if watch else 0.0
    peak = [0.0, 0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    if watch:
        watcher.start()
    [found] = _finish([process])
    if watch:
        watcher.join()
    return Run(**{**found, "imported": imported, "private": peak[0], "mapped": peak[1]})


def run_parts(name: str, folder: Path, world: int) -> float:
    """Return the seconds in which processes with a core each read all rows once; they begin together."""
    rest()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as cache:
        ranks = [["--rank", f"{rank}/{world}", "--core", str(cores[rank])] for rank in range(world)]
        found = _finish([_start([name, str(folder), *rank], Path(cache)) for rank in ranks])
    return max(Run(**each).epochs[-1] for each in found)


def run_tree(name: str, folder: Path) -> tuple[float, float]:
    """Return the seconds of a library's binning of all rows, and the peak of its process's memory in MB."""
    with tempfile.TemporaryDirectory() as cache:
        [found] = _finish([_start([name, str(folder)], Path(cache))])
    return found["seconds"], found["peak"]


def rest() -> None:
    """Wait until the machine does nothing, and what the last run left behind with it."""
    until = time.monotonic() + _REST_SECONDS
    while psutil.cpu_percent(_REST_LOOK) > _REST_PERCENT and time.monotonic() < until:
        pass


def _start(arguments: Sequence[str], cache: Path) -> subprocess.Popen[str]:
    """Start a process, and wait until it has imported what it needs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.measured", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MLPOOLS_CACHE": str(cache), "PYTHONWARNINGS": "ignore"},
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _finish(processes: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """Let processes begin together; return what they found."""
    for process in processes:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write("go\n")
            process.stdin.flush()
    found = []
    for process in processes:
        said, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{process.args!r}: {errors[-2000:]}")
        found.append(json.loads(said.splitlines()[-1]))
    return found


def _watch(process: subprocess.Popen[str], peak: list[float]) -> None:
    while process.poll() is None:
        now = memory(process.pid)
        peak[:] = [max(pair) for pair in zip(peak, now, strict=True)]
        time.sleep(_LOOK_SECONDS)


def memory(pid: int) -> tuple[float, float]:
    """Return private (anonymous and shared) and file-mapped MB of a process and its descendants.

    Proportional set sizes: what several processes share counts once in all.
    """
    private = mapped = 0
    for each in _family(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {words[0]: int(words[1]) for words in map(str.split, lines[1:])}
        private += sizes["Pss_Anon:"] + sizes["Pss_Shmem:"]
        mapped += sizes["Pss_File:"]
    return private / 1024, mapped / 1024


def _family(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def _cpu_seconds() -> float:
    """Return what this process and its descendants have used, the dead among them if somebody waited."""
    total = 0.0
    for pid in _family(os.getpid()):
        with contextlib.suppress(psutil.Error):
            total += sum(psutil.Process(pid).cpu_times()[:4])
    return total


def _ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def measure(name: str, folder: Path, rank: str) -> Run:
    """Read the data twice in this process."""
    import torch

    from bench.loaders import LOADERS, PARTS

    torch.set_num_threads(1)
    weights = torch.linspace(-1, 1, len(FEATURES))
    float((torch.zeros(8192, len(FEATURES)) @ weights).sum())
    for library in _IMPORTS.get(name.split(",")[0], ("pyarrow.dataset", "torch.utils.data")):
        importlib.import_module(library)
    _ready()
    opened = time.perf_counter()
    epoch = PARTS[name](folder, rank=rank) if rank else LOADERS[name](folder)
    first, seconds = 0.0, []
    cpu = _cpu_seconds()
    for _ in range(2):
        rows, total, began = 0, 0.0, time.perf_counter()
        for features, label in epoch():
            first = first or time.perf_counter() - opened
            total += float((features @ weights).sum()) + float(label.sum())
            rows += len(label)
        seconds.append(time.perf_counter() - began)
    return Run(first, seconds, _cpu_seconds() - cpu, rows, total)


#: What is imported before the clock starts.
_IMPORTS: dict[str, Sequence[str]] = {
    "ours": ("mlpools.data", "mlpools.data.outputs.torch"),
    "rank": ("mlpools.data", "mlpools.data.outputs.torch"),
    "polars": ("polars",),
    "Ray Data": ("ray.data",),
    "Hugging Face": ("datasets",),
}


def main() -> None:
    """Print what was found as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rank", default="", help="such as 0/2")
    parser.add_argument("--core", type=int, help="the only one to use")
    given = parser.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    if given.name in TREES:
        _ready()
        began = time.perf_counter()
        TREES[given.name](given.folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": time.perf_counter() - began, "peak": peak}))
    else:
        print(json.dumps(asdict(measure(given.name, given.folder, given.rank))))


if __name__ == "__main__":
    main()
