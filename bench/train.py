"""Training: ours beside the bare libraries, beside torchrun and beside Ray Train.

    python -m bench.train            # all, up to ten minutes on two idle cores
    python -m bench.train --quick    # an eighth of the rows, one turn: to see that it works

Boosted trees: 4 M rows of 28 float32 features in 8 Parquet files, in the page cache; 50 rounds. Every
training is a program of its own (``bench/trainers.py``). Ours gives each rank a thread; the bare library has
all threads in one process. PyTorch: a small network on two processes (``bench/ddp.py``). They take turns, so
that whatever else the machine does hits all of them; ratios are medians of the ratios of one turn. The first
turn's pair of ours and the bare library does all rounds; what does fewer is reckoned up to as many, and its
last trees count in its time alone. ``bench/ceiling.py`` says what the machine would allow.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence

from bench import ceiling, ddp, higgs
from bench.trainers import SETTINGS, Trained, run
from tools.record import Row, write

TURNS = 2
ROUNDS = 50
#: Of the first turn's pair; all others do fewer, and are reckoned up: a round takes as long as another.
FEW_ROUNDS = 10
#: Of torchrun and ours, in turns: between two of them the machine's speed changes by more than they differ.
LAUNCHES = 9
ONE, TWO, FOUR, PLAIN, RAY = "ours, 1 rank", "ours, 2 ranks", "ours, 4 ranks", "plain", "Ray Train"
#: A sum over ranks is added in another order, and bins come from other samples.
_SAME_LOSS = 2e-3
#: By framework: bounds of the time by the bare library's, and of a rank's memory and all ranks' in MB.
_BOUNDS = {"xgboost": (0.95, 500.0, None), "lightgbm": (1.0, None, 1450.0)}

Runs = dict[str, list[Trained]]
Figure = Callable[[Trained], float]


def working(run: Trained) -> float:
    """Return the seconds of which imports are no part."""
    return run.files_to_model


#: What more CPUs make faster.
GAINS: dict[str, Figure] = {"speed of rounds": lambda run: run.boosting, "speed of files → model": working}


def take_turns(framework: str, rows: int, turns: int) -> Runs:
    """Train in turns, the first of them with all rounds and with what only shows how it goes elsewhere."""
    folder, found = higgs.make(rows), Runs()
    others = [FOUR] + [RAY] * bool(importlib.util.find_spec("ray.train"))
    for turn in range(turns):
        for name in [PLAIN, TWO, ONE, *(others if turn == 0 else ())]:
            rounds = ROUNDS if turn == 0 and name in (PLAIN, TWO) else FEW_ROUNDS
            try:
                trained = run(name, framework, folder, rounds)
            except RuntimeError as error:
                if name != RAY:
                    raise
                print(f"  · {framework}, {name} failed: {error}", flush=True)
                continue
            found.setdefault(name, []).append(trained)
            print(
                f"  · {framework}, {name}: {trained.rounds} rounds, {trained.files_to_model:.1f} s, "
                f"of which boosting {trained.boosting:.1f} s; program {trained.wall:.1f} s, "
                f"CPU {trained.cpu:.1f} s, {trained.memory:.0f} MB, of all {trained.memory_of_all:.0f} MB",
                flush=True,
            )
    return found


def check_same(framework: str, runs: Runs) -> None:
    """See that all that did as many rounds learned the same."""
    wanted = {each.rounds: each.loss for each in (*runs[ONE], *runs[PLAIN])}
    for name, several in runs.items():
        for each in several:
            if name != RAY and abs(each.loss - wanted[each.rounds]) > _SAME_LOSS:
                raise RuntimeError(
                    f"{framework}, {name}: the loss is {each.loss}, and plainly {wanted[each.rounds]}"
                )


def median(runs: Sequence[Trained], figure: Figure) -> float:
    """Return the middle one of a figure of several runs."""
    return statistics.median(map(figure, runs))


def ratio(ours: Sequence[Trained], theirs: Sequence[Trained], figure: Figure) -> float:
    """Return the median of the ratios of runs of the same turn; some have only the first."""
    return statistics.median(figure(a) / figure(b) for a, b in zip(ours, theirs, strict=False))


def ratio_rows(framework: str, runs: Runs) -> list[Row]:
    """Ours beside the others and beside itself, with the bounds that we set ourselves."""
    stretched = {name: [each.stretched(ROUNDS) for each in several] for name, several in runs.items()}

    def against(what: str, peer: str, figure: Figure, target: float | None) -> Row:
        value = ratio(stretched[TWO], stretched[peer], figure)
        return Row(f"{framework}: {what}, 2 ranks by {peer}", value, "times", peer, value, target)

    def gain(what: str, target: float) -> Row:
        value = 1 / ratio(stretched[TWO], stretched[ONE], GAINS[what])
        return Row(f"{framework}: {what}, 2 ranks by one", value, "times", ONE, value, target, at_least=True)

    def memory(what: str, figure: Figure, target: float | None) -> Row:
        peak = max(map(figure, runs[TWO]))
        return Row(f"{framework}: peak of resident memory of {what}", peak, "MB", target=target)

    time, of_rank, of_all = _BOUNDS[framework]
    cpu = runs[TWO][0].cpu / runs[PLAIN][0].cpu  # of all rounds: what fewer take cannot be reckoned up
    rows = [
        against("files → model", PLAIN, working, time),
        against("whole program", PLAIN, lambda run: run.wall, None),
        Row(f"{framework}: CPU-seconds, 2 ranks by {PLAIN}", cpu, "times", PLAIN, cpu),
        gain("speed of rounds", 1.9),
        gain("speed of files → model", 1.75),
        memory("the larger rank of 2", lambda run: run.memory, of_rank),
        memory("2 ranks together", lambda run: run.memory_of_all, of_all),
    ]
    if RAY in runs:
        rows.append(against("files → model", RAY, working, None))
    return rows


def figure_rows(framework: str, runs: Runs) -> list[Row]:
    """What each training took by itself."""
    figures: list[tuple[str, str, Figure]] = [
        ("files → model", "s", lambda run: run.files_to_model),
        ("before the rounds", "s", lambda run: run.files_to_model - run.boosting),
        ("a round after the first", "s", lambda run: run.a_round),
        ("whole program", "s", lambda run: run.wall),
        ("peak of resident memory of its largest process", "MB", lambda run: run.memory),
    ]
    rows = [
        Row(
            f"{framework}, {name}: {what}", median([each.stretched(ROUNDS) for each in several], figure), unit
        )
        for name, several in runs.items()
        # Ray's processes are not all its children.
        for what, unit, figure in figures[: 4 if name == RAY else None]
    ]
    return rows + [
        Row(f"{framework}, {name}, {several[0].rounds} rounds: CPU", several[0].cpu, "CPU-s")
        for name, several in runs.items()
        if name != RAY
    ]


def tree_rows(framework: str, *, quick: bool) -> list[Row]:
    """Train with a framework, and see that all learned the same."""
    turns = 1 if quick else TURNS
    runs = take_turns(framework, higgs.FILE_ROWS // (8 if quick else 1), turns)
    check_same(framework, runs)
    pairs = ceiling.pairs(framework, FEW_ROUNDS, turns)
    ceilings = [
        Row(
            f"{framework}: {what}, two programs that share nothing by one",
            ceiling.ceiling(pairs, figure),
            "times",
        )
        for what, figure in GAINS.items()
    ]
    return ratio_rows(framework, runs) + ceilings + figure_rows(framework, runs)


def launch_rows(turns: int) -> list[Row]:
    """PyTorch's own launcher and ours."""
    theirs: list[ddp.Launched] = []
    own: list[ddp.Launched] = []
    for turn in range(turns):
        one = [(own, ddp.ours), (theirs, ddp.torchrun)]
        for found, launch in one if turn % 2 else reversed(one):  # neither is always the later one
            found.append(launch())
        print(
            f"  · pytorch: barrier after {own[-1].barrier:.2f} s, {theirs[-1].barrier:.2f} s; "
            f"{own[-1].rate:.0f} rows/s, {theirs[-1].rate:.0f}",
            flush=True,
        )
    later = statistics.median(a.barrier - b.barrier for a, b in zip(own, theirs, strict=True))
    rates = [a.rate / b.rate for a, b in zip(own, theirs, strict=True)]
    rate = statistics.median(rates)
    return [
        Row("pytorch: start → first barrier, ours less torchrun", later, "s", "torchrun", target=0.3),
        Row("pytorch: rows/s, ours by torchrun", rate, "times", "torchrun", rate, 0.98, at_least=True),
        Row("pytorch: the same, the least of all turns", min(rates), "times"),
        Row("pytorch: the same, the most of all turns", max(rates), "times"),
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
    parts: list[Callable[[], list[Row]]] = [functools.partial(tree_rows, it, quick=quick) for it in SETTINGS]
    parts.append(functools.partial(launch_rows, 1 if quick else LAUNCHES))
    rows: list[Row] = []
    failed = False
    for part in parts:
        try:
            rows += part()
        except (RuntimeError, subprocess.SubprocessError) as error:  # the other parts are worth having
            failed = True
            print(f"  ! {error}", flush=True)
    write("train", rows)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
