"""Which rank holds up its gang, by each one's own work in a step."""

from __future__ import annotations

import pytest

from mlpools.contract.ends import Exit
from mlpools.supervisor.pace import SLOW_SECONDS, Pace, Slow, slowest
from mlpools.supervisor.roll import Beat, Roll

EVEN, UNEVEN = {0: 1.0, 1: 1.1, 2: 0.9}, {0: 1.0, 1: 3.3, 2: 1.2}


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        ({0: 1.0, 1: 3.0}, Slow(1, 3.0)),
        (UNEVEN, Slow(1, 3.0)),
        ({0: 9.0, 1: 3.0, 2: 3.0}, Slow(0, 3.0)),
        ({0: 1.0}, None),
        ({0: 1.0, 1: 3.0, 2: 0.0}, None),
        ({}, None),
    ],
)
def test_a_rank_is_measured_by_the_middle_one_of_the_others(
    seconds: dict[int, float], found: Slow | None
) -> None:
    assert slowest(seconds) == found


def test_a_rank_is_named_once_it_was_slow_for_a_while() -> None:
    pace = Pace()
    assert pace.judge(UNEVEN, 100.0) is None
    assert pace.judge(UNEVEN, 100.0 + SLOW_SECONDS - 0.1) is None
    assert pace.judge(UNEVEN, 100.0 + SLOW_SECONDS) == Slow(1, 3.0)
    assert pace.judge({**UNEVEN, 1: 2.0}, 120.0) == Slow(1, 3.0), "what was told changes with each beat"
    assert pace.judge({0: 1.0, 1: 1.3, 2: 1.0}, 121.0) == Slow(1, 3.0), (
        "near the border it is told again and again"
    )
    assert pace.judge(EVEN, 122.0) is None


@pytest.mark.parametrize("between", [EVEN, {0: 3.0, 1: 1.0, 2: 1.0}])
def test_a_moment_of_another_kind_begins_the_wait_anew(between: dict[int, float]) -> None:
    pace = Pace()
    pace.judge(UNEVEN, 100.0)
    pace.judge(between, 105.0)
    assert pace.judge(UNEVEN, 106.0) is None
    assert pace.judge(UNEVEN, 100.0 + SLOW_SECONDS) is None
    assert pace.judge(UNEVEN, 106.0 + SLOW_SECONDS) == Slow(1, 3.0)


def test_the_gang_learns_of_its_slow_rank_from_the_beats() -> None:
    def beat(rank: int, seconds: float, code: int | None = None) -> Beat:
        return Beat(uid="u", attempt=1, rank=rank, own_seconds=seconds, code=code)

    roll = Roll(beat(0, 1.0), 3)
    roll.hear(beat(0, 1.0), 0.0)
    roll.hear(beat(2, 4.0), 0.0)
    assert roll.verdict(100.0).slow is None, "not all ranks were heard"
    roll.hear(beat(1, 1.0), 100.0)
    for now in (100.0, 105.0, 110.0):
        verdict = [roll.hear(beat(rank, seconds), now) for rank, seconds in ((0, 1.0), (1, 1.0), (2, 4.0))][
            -1
        ]
    assert verdict.slow == Slow(2, 4.0)
    assert verdict.slow.sentence().startswith("Rank 2 takes 4 times as long as the others")
    assert roll.hear(beat(1, 1.0, code=Exit.DONE), 111.0).slow is None, "the others do not wait any more"
