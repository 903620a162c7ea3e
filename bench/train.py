"""Training: ours beside the bare libraries, beside torchrun and beside Ray Train.

    python -m bench.train            # all, up to ten minutes on two idle cores
    python -m bench.train --quick    # an eighth of the rows, one turn: to see that it works

Boosted trees: 4 M rows of 28 float32 features in 8 Parquet files, in the page cache; 50 rounds. Every
training is a program of its own (``bench/trainers.py``). Ours gives each rank a thread; the bare library has
all threads in one process. PyTorch: a small network on two processes (``bench/ddp.py``). They take turns, so
that whatever else the machine does hits all of them; ratios are medians of the ratios of one turn.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Callable, Sequence

from bench import ddp, higgs
from bench.trainers import SETTINGS, Trained, run
from tools.record import Row, write

TURNS = 3
ROUNDS = 50
ONE, TWO, FOUR, PLAIN, RAY = "ours, 1 rank", "ours, 2 ranks", "ours, 4 ranks", "plain", "Ray Train"
#: A sum over ranks is added in another order, and bins come from other samples.
_SAME_LOSS = 2e-3

Runs = dict[str, list[Trained]]
Figure = Callable[[Trained], float]


def take_turns(framework: str, rows: int, turns: int) -> Runs:
    """Train in turns; what only shows how it scales, or takes long, has one turn."""
    folder, found = higgs.make(rows), Runs()
    once = [ONE, FOUR] + [RAY] * bool(importlib.util.find_spec("ray.train"))
    rounds = ROUNDS if turns > 1 else ROUNDS // 5
    for turn in range(turns):
        for name in [PLAIN, TWO, *(once if turn == 0 else ())]:
            try:
                trained = run(_words(name), framework, folder, rounds)
            except RuntimeError as error:
                if name != RAY:
                    raise
                print(f"  · {framework}, {name} failed: {error}", flush=True)
                continue
            found.setdefault(name, []).append(trained)
            print(
                f"  · {framework}, {name}: {trained.files_to_model:.1f} s of {trained.wall:.1f} s", flush=True
            )
    return found


def _words(name: str) -> str:
    return name.replace(",", "")


def check_same(framework: str, runs: Runs) -> None:
    """See that all learned the same."""
    wanted = runs[PLAIN][0].loss
    for name, several in runs.items():
        for each in several:
            if name != RAY and abs(each.loss - wanted) > _SAME_LOSS:
                raise RuntimeError(f"{framework}, {name}: the loss is {each.loss}, and plainly {wanted}")


def median(runs: Sequence[Trained], figure: Figure) -> float:
    """Return the middle one of a figure of several runs."""
    return statistics.median(map(figure, runs))


def ratio(ours: Sequence[Trained], theirs: Sequence[Trained], figure: Figure) -> float:
    """Return the median of the ratios of runs of the same turn."""
    return statistics.median(figure(a) / figure(b) for a, b in zip(ours, theirs, strict=False))


def ratio_rows(framework: str, runs: Runs) -> list[Row]:
    """Ours beside the others and beside itself, with the bounds that we set ourselves."""

    def working(run: Trained) -> float:
        return run.files_to_model

    def against(what: str, peer: str, figure: Figure, target: float | None) -> Row:
        value = ratio(runs[TWO], runs[peer], figure)
        return Row(f"{framework}: {what}, 2 ranks by {peer}", value, "times", peer, value, target)

    def gain(what: str, figure: Figure, target: float) -> Row:
        value = ratio(runs[ONE], runs[TWO], figure)
        return Row(f"{framework}: {what}, 2 ranks by one", value, "times", ONE, value, target, at_least=True)

    bound, memory = (0.95, 500.0) if framework == "xgboost" else (1.0, 1450.0 / 2)
    rows = [
        against("files → model", PLAIN, working, bound),
        against("whole program", PLAIN, lambda run: run.wall, None),
        against("CPU-seconds", PLAIN, lambda run: run.cpu, None),
        gain("speed of rounds", lambda run: run.rounds, 1.9),
        gain("speed of files → model", working, 1.75),
        Row(
            f"{framework}: peak of resident memory of a rank of 2",
            median(runs[TWO], lambda run: run.memory),
            "MB",
            target=memory,
        ),
    ]
    if RAY in runs:
        rows.append(against("whole program", RAY, lambda run: run.wall, None))
    return rows


def figure_rows(framework: str, runs: Runs) -> list[Row]:
    """What each training took by itself."""
    figures: list[tuple[str, str, Figure]] = [
        ("files → model", "s", lambda run: run.files_to_model),
        ("rounds", "s", lambda run: run.rounds),
        ("whole program", "s", lambda run: run.wall),
        ("CPU", "CPU-s", lambda run: run.cpu),
        ("peak of resident memory of the largest process", "MB", lambda run: run.memory),
    ]
    return [
        Row(f"{framework}, {name}: {what}", median(several, figure), unit)
        for name, several in runs.items()
        for what, unit, figure in figures
        if name != RAY or what in ("files → model", "whole program")
    ]


def launch_rows(turns: int) -> list[Row]:
    """PyTorch's own launcher and ours."""
    theirs, own = [], []
    for _ in range(turns):
        theirs.append(ddp.torchrun())
        own.append(ddp.ours())
        print(f"  · pytorch: barrier after {own[-1].barrier:.2f} s, {theirs[-1].barrier:.2f} s", flush=True)
    pairs = list(zip(own, theirs, strict=True))
    later = statistics.median(a.barrier - b.barrier for a, b in pairs)
    rate = statistics.median(a.rate / b.rate for a, b in pairs)
    return [
        Row("pytorch: start → first barrier, ours less torchrun", later, "s", "torchrun", target=0.3),
        Row("pytorch: rows/s, ours by torchrun", rate, "times", "torchrun", rate, 0.98, at_least=True),
        *(
            Row(f"pytorch, {name}: {what}", statistics.median(values), unit)
            for name, several in (("ours", own), ("torchrun", theirs))
            for what, unit, values in (
                ("start → first barrier of 2 workers", "s", [each.barrier for each in several]),
                ("rows learned from", "rows/s", [each.rate for each in several]),
            )
        ),
    ]


def main() -> int:
    """Measure and write `bench/results/train.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small and once; the figures mean nothing")
    quick = parser.parse_args().quick
    rows: list[Row] = []
    for framework in SETTINGS:
        runs = take_turns(framework, higgs.FILE_ROWS // (8 if quick else 1), 1 if quick else TURNS)
        check_same(framework, runs)
        rows += ratio_rows(framework, runs) + figure_rows(framework, runs)
    write("train", rows + launch_rows(1 if quick else TURNS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
