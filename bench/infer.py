"""Batch inference: ours beside the same done by hand, and beside Ray Data.

    python -m bench.infer            # all, some six minutes on two idle cores
    python -m bench.infer --quick    # an eighth of the rows, one turn: to see that it works

4 M rows of 28 float32 features in 8 Parquet files, in the page cache; 100 trees of depth 6; predictions to
Parquet. By hand: one file after the other is read, predicted and written, with all threads. Every scoring is
a program of its own (``bench/scorers.py``). They take turns, so that whatever else the machine does hits all
of them; ratios are medians of the ratios of one turn. Memory is watched in runs that are not timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import forests, higgs
from bench.measured import rest
from bench.scorers import PLAIN, RAY, Scored, run
from tools.record import Row, write

TURNS = 3
ONE, TWO, FOUR = "ours, 1 worker", "ours, 2 workers", "ours, 4 workers"
#: Frameworks beside XGBoost take so long that one worker has to do.
OTHERS = ("lightgbm", "onnx")
_SAME_MEAN = 1e-6
#: The larger input's memory by the smaller one's.
_FLAT = 1.1

Runs = dict[str, list[Scored]]


def take_turns(framework: str, model: Path, folder: Path, names: Sequence[str], turns: int) -> Runs:
    """Score in turns; what is no equal of ours has one."""
    found: Runs = {}
    for turn in range(turns):
        for name in names:
            if turn and name in (FOUR, RAY):
                continue
            rest()
            scored = run(name, framework, model, folder)
            found.setdefault(name, []).append(scored)
            print(
                f"  · {framework}, {name}: {scored.rate:.2f} Mrow/s in {scored.seconds:.1f} s; program "
                f"{scored.wall:.1f} s, CPU {scored.cpu:.1f} s",
                flush=True,
            )
    return found


def check_same(framework: str, runs: Runs) -> None:
    """See that all predicted the same for the same rows."""
    first = runs[PLAIN][0]
    for name, several in runs.items():
        for each in several:
            if each.rows != first.rows or abs(each.total - first.total) > _SAME_MEAN * first.rows:
                raise RuntimeError(f"{framework}, {name}: {each.rows} rows, {each.total} in all, not {first}")


def median(runs: Sequence[Scored], figure: Callable[[Scored], float]) -> float:
    """Return the middle one of a figure of several runs."""
    return statistics.median(map(figure, runs))


def ratio(ours: Sequence[Scored], theirs: Sequence[Scored]) -> float:
    """Return the median of the ratios of the speeds of one turn; some have only the first."""
    return statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=False))


def ratio_rows(framework: str, runs: Runs) -> list[Row]:
    """Ours beside the others, with the bounds that we set ourselves."""
    bounds = {PLAIN: 0.9, RAY: 2.0}
    rows = []
    for peer in (PLAIN, RAY):
        if peer in runs:
            value = ratio(runs[ONE], runs[peer])
            what = f"{framework}: rows/s, 1 worker of all threads by {peer}"
            rows.append(Row(what, value, "times", peer, value, bounds[peer], at_least=True))
    for name in (TWO, FOUR):
        if name in runs:
            value = ratio(runs[name], runs[PLAIN])
            rows.append(Row(f"{framework}: rows/s, {name} by {PLAIN}", value, "times", PLAIN, value))
    return rows


def figure_rows(framework: str, runs: Runs) -> list[Row]:
    """What each scoring took by itself."""
    figures: list[tuple[str, str, Callable[[Scored], float]]] = [
        ("rows/s, imports aside", "Mrow/s", lambda one: one.rate),
        ("whole program", "s", lambda one: one.wall),
        ("CPU", "CPU-s", lambda one: one.cpu),
        ("program's start → first part", "s", lambda one: one.first),
    ]
    return [
        Row(f"{framework}, {name}: {what}", median(several, figure), unit)
        for name, several in runs.items()
        for what, unit, figure in figures
        # Ray's processes are not all its children.
        if not (name == RAY and unit == "CPU-s") and (name.startswith("ours") or not what.endswith("part"))
    ]


def memory_rows(model: Path, small: Path, large: Path) -> list[Row]:
    """Peaks of memory of runs that are not timed, over a quarter of the rows and over all of them."""
    rows = []
    for name in (PLAIN, ONE, TWO):
        few, many = (run(name, "xgboost", model, folder, watch=True).memory for folder in (small, large))
        target = None if name == PLAIN else _FLAT
        rows += [
            Row(f"xgboost, {name}: peak of private memory of all its processes", many, "MB"),
            Row(
                f"xgboost, {name}: that by the peak of a quarter of the rows",
                many / few,
                "times",
                target=target,
            ),
        ]
    return rows


def main() -> int:
    """Measure and write `bench/results/infer.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small and once; the figures mean nothing")
    quick = parser.parse_args().quick
    rows_of_file = higgs.FILE_ROWS // (8 if quick else 1)
    models, folder, small = forests.make(), higgs.make(rows_of_file), higgs.make(rows_of_file // 4)
    turns = 1 if quick else TURNS
    names = [PLAIN, ONE, TWO, FOUR] + [RAY] * bool(importlib.util.find_spec("ray.data"))
    parts = [("xgboost", names, turns), *((other, [PLAIN, ONE], min(2, turns)) for other in OTHERS)]
    ratios, figures = [], []
    for framework, scorers, times in parts:
        runs = take_turns(framework, models[framework], folder, scorers, times)
        check_same(framework, runs)
        ratios += ratio_rows(framework, runs)
        figures += figure_rows(framework, runs)
    write("infer", ratios + memory_rows(models["xgboost"], small, folder) + figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
