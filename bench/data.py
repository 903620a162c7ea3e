"""Reading for training: ours beside what people use, and beside a loop by hand.

    python -m bench.data            # all, some ten minutes on two idle cores
    python -m bench.data --quick    # one run of each, to see that it works

4 M rows of 28 float32 features and a label in 8 Parquet files (snappy, row groups of 125,000), in the page
cache; batches of 8,192 rows; two epochs. Each loader runs in a process of its own and touches its batches in
the same way (``bench/measured.py``). Loaders take turns, so that whatever else the machine does hits all of
them; ratios are medians of the ratios of one turn.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import higgs
from bench.measured import Run, run, run_parts, run_tree
from tools.record import Row, write

TURNS = 5
OURS, CACHED, SHUFFLED = "ours", "ours, cached", "ours, shuffled"
FAST = (
    OURS,
    "Arrow scanner",
    CACHED,
    "Arrow scanner, whole row groups",
    SHUFFLED,
    "torch DataLoader",
    "polars",
    "Hugging Face, arrow",
)
#: These take so long that two turns have to do, with ours among them.
SLOW = ("ours, 2 DataLoader workers", "torch DataLoader, 2 workers", "Ray Data")
#: Reads an eighth of the rows, once.
SLOWEST = "Hugging Face, torch"

Runs = dict[str, list[Run]]


def take_turns(names: Sequence[str], folder: Path, turns: int, *, watch: bool = False) -> Runs:
    """Run loaders one after the other, several times."""
    found: Runs = {name: [] for name in names}
    for _, name in itertools.product(range(turns), names):
        with tempfile.TemporaryDirectory() as cache:
            found[name].append(run(name, folder, cache=Path(cache), watch=watch))
        print(f"  · {name}: {found[name][-1].rate:.2f} Mrow/s", flush=True)
    return found


def check_same(runs: Runs) -> None:
    """See that all loaders read the same rows; the order in which they are added makes tiny differences."""
    first = runs[OURS][0]
    for name, several in runs.items():
        for each in several:
            if each.rows != first.rows or abs(each.total - first.total) > 1e-5 * abs(first.total):
                raise RuntimeError(f"{name} read {each.rows} rows with the sum {each.total}, not {first}")


def median(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """Return the middle one of a figure of several runs."""
    return statistics.median(map(figure, runs))


def ratio(ours: Sequence[Run], theirs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """Return the median of the ratios of runs of the same turn."""
    return statistics.median(figure(a) / figure(b) for a, b in zip(ours, theirs, strict=False))


def loader_rows(runs: Runs) -> list[Row]:
    """What each loader does by itself."""
    rows = []
    for name, several in runs.items():
        rows += [
            Row(f"{name}: two epochs", median(several, lambda each: each.rate), "Mrow/s"),
            Row(f"{name}: CPU of two epochs of 4 M rows", median(several, lambda each: each.cpu), "CPU-s"),
            Row(f"{name}: first batch after the imports", median(several, lambda each: each.first), "s"),
        ]
    return rows


def memory_rows(runs: Runs) -> list[Row]:
    """Peaks of memory, of runs that are not timed."""
    rows = []
    for name, (watched,) in runs.items():
        target = 400.0 if name.startswith(OURS) and "workers" not in name else None
        rows += [
            Row(f"{name}: private memory, peak", watched.private, "MB", target=target),
            Row(f"{name}: of that the imported libraries'", watched.imported, "MB"),
            Row(f"{name}: mapped files, peak", watched.mapped, "MB"),
        ]
    return rows


def ratio_rows(fast: Runs, slow: Runs) -> list[Row]:
    """Ours beside the others and beside itself, with the bounds that we set ourselves."""

    def against(name: str, theirs: Sequence[Run], target: float | None) -> Row:
        ours = slow[OURS] if name in SLOW else fast[OURS]
        value = ratio(ours, theirs, lambda each: each.rate)
        what = f"rows/s of two epochs: ours by {name}"
        return Row(what, value, "times", peer=name, ratio=value, target=target, at_least=True)

    second = median(fast[CACHED], lambda each: each.epochs[0] / each.epochs[1])
    plain = ratio(fast[OURS], fast[CACHED], lambda each: each.epochs[-1])
    shuffled = ratio(fast[SHUFFLED], fast[OURS], lambda each: sum(each.epochs))
    cached = median(fast[CACHED], lambda each: each.rows / each.epochs[1] / 1e6)
    first = median(fast[OURS], lambda each: each.first)
    return [
        against("Arrow scanner", fast["Arrow scanner"], 1),
        against("Arrow scanner, whole row groups", fast["Arrow scanner, whole row groups"], 1),
        against("torch DataLoader", fast["torch DataLoader"], None),
        against("polars", fast["polars"], None),
        against("Hugging Face, arrow", fast["Hugging Face, arrow"], None),
        against("Ray Data", slow["Ray Data"], 8),
        Row("rows/s from the decoded cache (epoch 2)", cached, "Mrow/s"),
        Row("epoch 1, which fills the cache, by epoch 2", second, "times", target=5, at_least=True),
        Row("an epoch without a cache by one from it", plain, "times", target=5, at_least=True),
        Row("two shuffled epochs by two in order", shuffled, "times", target=1.5),
        Row("first batch after the imports, ours", first, "s", target=0.3),
    ]


def rank_rows(folder: Path, turns: int) -> list[Row]:
    """One rank on one core and two with a core each, beside programs that do nothing but decode."""

    def gain(name: str) -> float:
        return run_parts(name, folder, 1) / run_parts(name, folder, 2)

    gains = [(gain("rank"), gain("decoder")) for _ in range(turns)]
    ranks, decoders = (statistics.median(each) for each in zip(*gains, strict=True))
    share = statistics.median(rank / decoder for rank, decoder in gains)
    return [
        Row("rows/s of two ranks, a core each, by one rank's", ranks, "times", target=1.9, at_least=True),
        Row(
            "row groups/s of two bare decoders, a core each, by one's: what the cores allow",
            decoders,
            "times",
        ),
        Row("of what the cores allow, two ranks reach", share, "times", target=0.95, at_least=True),
    ]


def tree_rows(folder: Path) -> list[Row]:
    """Peak memory of whole processes that bin all rows for gradient boosting."""
    rows = []
    for name, target in (("XGBoost", 950.0), ("LightGBM", 1450.0)):
        seconds, peak = run_tree(name, folder)
        rows += [
            Row(
                f"{name}: files → binned matrix of 4 M rows, peak of resident memory",
                peak,
                "MB",
                target=target,
            ),
            Row(f"{name}: the same, time", seconds, "s"),
        ]
    return rows


def main() -> int:
    """Measure and write `bench/results/data.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one run of each; the figures mean little")
    turns = 1 if parser.parse_args().quick else TURNS
    folder, small = higgs.make(), higgs.make(higgs.FILE_ROWS // 8)
    fast = take_turns(FAST, folder, turns)
    slow = take_turns([OURS, *SLOW], folder, min(2, turns))
    every = slow | fast
    check_same(every)
    slowest = take_turns([SLOWEST], small, 1)
    memory = take_turns([*FAST, *SLOW], folder, 1, watch=True)
    figures = loader_rows(every)
    figures.append(Row(f"{SLOWEST}: two epochs of 0.5 M rows", slowest[SLOWEST][0].rate, "Mrow/s"))
    rows = ratio_rows(fast, slow) + rank_rows(folder, min(3, turns)) + tree_rows(folder)
    write("data", rows + figures + memory_rows(memory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
