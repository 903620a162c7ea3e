"""How long a pod takes to install packages: from an index, and from the pool's cache, beside bare pip.

    python -m bench.packages

A pod's own program runs as rank 0 does, against an index on this machine: what is left is the work of the
installers. The packages are of the size of scikit-learn and what that needs. pip and uv install them by one
command each, which resolves nothing beforehand, asks no policy, and keeps no files for the next one. All of
them take turns.
"""

from __future__ import annotations

import importlib.metadata
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mlpools.contract.tasks import Packages
from mlpools.contract.wiring import CACHE_ENV, PACKAGES_ENV, TASK_ENV
from mlpools.runtime import uv
from tests.support.package_index import PackageIndex
from tests.support.pods import task
from tools.record import Row, write

ROUNDS = 5
WANTED = "science==1.0"
#: name -> what it needs, Python files, and megabytes of compiled code
SIZES: dict[str, tuple[Sequence[str], int, int]] = {
    "science": (["arrays", "figures", "jobs", "threads"], 900, 12),
    "arrays": (["figures"], 1100, 36),
    "figures": ([], 150, 12),
    "jobs": ([], 240, 0),
    "threads": ([], 10, 0),
}
_MODULE = "".join(f"def work_{it}(a, b=None):\n    return [a, b, {it}]\n\n\n" for it in range(100))


class Took(NamedTuple):
    """What an installation took: seconds, and the CPU's of all its processes."""

    seconds: float
    cpu: float


def fill(index: PackageIndex) -> None:
    """Give the index its wheels; compiled code does not get smaller by packing."""
    for name, (needs, modules, megabytes) in SIZES.items():
        index.wheel(name, "1.0", needs=needs)
        [path] = (index.folder / name).iterdir()
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as wheel:
            for number in range(modules):
                wheel.writestr(f"{name}_parts/part_{number}.py", _MODULE)
            for number in range(megabytes // 4):
                wheel.writestr(f"{name}_parts/code_{number}.so", os.urandom(4 << 20))


def pod(folder: Path, packages: Packages, cache: Path) -> Took:
    """Install in a new pod as its supervisor has it done, and return what it took."""
    environ = {
        **os.environ,
        TASK_ENV: task(folder / "out", packages=packages.to_dict()).to_json(),
        PACKAGES_ENV: str(folder / "pod"),
        CACHE_ENV: str(cache),
        "RANK": "0",
    }
    return timed([sys.executable, "-m", "mlpools.runtime.packages"], environ)


def bare_pip(target: Path, url: str, *more: str) -> Took:
    """Install with pip's own command, and return what it took."""
    options = ["--isolated", "--quiet", "--no-cache-dir", "--disable-pip-version-check", f"--index-url={url}"]
    command = [sys.executable, "-m", "pip", "install", *options, *more]
    return timed([*command, "--target", str(target), WANTED])


def bare_uv(folder: Path, url: str) -> Took:
    """Install with uv's own command, and return what it took."""
    options = ["--quiet", "--no-config", f"--cache-dir={folder / 'uv-cache'}", f"--default-index={url}"]
    program = [str(uv.find()), "pip", "install", "--python", sys.executable]
    return timed([*program, *options, "--target", str(folder / "uv"), WANTED])


def timed(command: Sequence[str], environ: dict[str, str] | None = None) -> Took:
    """Run a command, which has to end well, and return what it took."""
    began, used = time.monotonic(), _cpu_of_children()
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    return Took(time.monotonic() - began, _cpu_of_children() - used)


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def one_round(folder: Path, url: str, kept: Path) -> dict[str, Took]:
    """Install once in each way into an empty folder, and return what each took."""
    direct = Packages(wanted=[WANTED], index_url=url)
    cached = Packages(wanted=[WANTED], index_url=url, cached=True)
    return {
        "bare pip": bare_pip(folder / "pip", url),
        "bare pip, no bytecode": bare_pip(folder / "no-bytecode", url, "--no-compile"),
        "bare uv": bare_uv(folder, url),
        "a pod, from the index": pod(folder / "direct", direct, folder / "cache"),
        "a pod that fills the pool's cache": pod(folder / "first", cached, folder / "cache"),
        "a pod, from the pool's cache": pod(folder / "later", cached, kept),
    }


def main() -> int:
    """Measure, and write `bench/results/packages.json`."""
    rounds = []
    with tempfile.TemporaryDirectory() as name, PackageIndex(Path(name, "index")) as index:
        kept = Path(name, "cache")
        fill(index)
        for _ in range(ROUNDS + 1):
            with tempfile.TemporaryDirectory(dir=name) as own:
                rounds.append(one_round(Path(own), index.url, kept))
    rounds = rounds[1:]  # the first one fills the cache, and reads the programs from the disk
    megabytes = sum(size for *_, size in SIZES.values())
    files = sum(modules for _, modules, _ in SIZES.values())
    what = f"install {len(SIZES)} wheels, {megabytes} MB and {files:,} modules, median of {ROUNDS}"
    pip = f"pip {importlib.metadata.version('pip')}"
    rows = []
    for way in rounds[0]:
        for unit, at in (("s", 0), ("CPU-s", 1)):
            value = statistics.median(each[way][at] for each in rounds)
            ratio = statistics.median(each[way][at] / each["bare pip"][at] for each in rounds)
            rows.append(Row(f"{what}: {way}", value, unit, pip, ratio))
    write("packages", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
