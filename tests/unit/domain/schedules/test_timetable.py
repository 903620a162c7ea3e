"""Times of cron expressions: in order, each once, and as Debian's cron has them when clocks are moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools_operator.api.v1alpha1.schedule import is_cron, is_zone
from mlpools_operator.domain.schedules.timetable import Timetable

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
#: Around these moments the clocks of the zones above are moved.
EPOCHS = [
    datetime(2026, 3, 8, tzinfo=UTC).timestamp(),
    datetime(2026, 3, 29, tzinfo=UTC).timestamp(),
    datetime(2026, 10, 25, tzinfo=UTC).timestamp(),
    datetime(2026, 11, 1, tzinfo=UTC).timestamp(),
]
_MOMENTS = st.tuples(st.sampled_from(EPOCHS), st.integers(-40_000, 120_000)).map(sum).map(float)
_MINUTES = st.sampled_from(("*", "0", "30", "*/15", "7,37", "0-10/5", "59"))
_HOURS = st.sampled_from(("*", "0", "2", "1-3", "*/2", "2,3", "23"))
_TABLES = st.builds(
    lambda minute, hour, zone: Timetable(f"{minute} {hour} * * *", zone),
    _MINUTES,
    _HOURS,
    st.sampled_from(ZONES),
)
MODERATE = settings(max_examples=60, deadline=None)


def times(table: Timetable, after: float, until: float) -> list[float]:
    """Return all times of a span, one after the other."""
    found: list[float] = []
    time = table.next(after)
    while time is not None and time <= until:
        found.append(time)
        time = table.next(time)
    return found


def local(zone: str, text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def shown(table: Timetable, day: str, days: int = 1) -> list[str]:
    """Return the times of a day (from midnight to midnight in the zone) as UTC and local clocks show them."""
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(table.zone))
    after, until = start.timestamp() - 1, (start + timedelta(days=days)).timestamp() - 1
    return [
        f"{datetime.fromtimestamp(time, UTC):%H:%M}Z {table.local(time):%H:%M}"
        for time in times(table, after, until)
    ]


@pytest.mark.parametrize(
    ("cron", "zone", "day", "expected"),
    [
        # Spring: the clock goes from 02:00 to 03:00.
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", ["01:00Z 03:00"]),
        ("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29", ["01:00Z 03:00", "01:30Z 03:30"]),
        ("30 2 * * *", "America/New_York", "2026-03-08", ["07:00Z 03:00"]),
        ("0 4 * * *", "America/New_York", "2026-03-08", ["08:00Z 04:00"]),
        # Autumn: the hour from 02:00 (New York: 01:00) comes twice.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["00:30Z 02:30"]),
        ("30 1 * * *", "America/New_York", "2026-11-01", ["05:30Z 01:30"]),
        ("30 */1 * * 0", "America/New_York", "2026-11-01", [f"{(h + 4) % 24:02}:30Z" for h in range(25)]),
    ],
)
def test_clocks_that_are_moved(cron: str, zone: str, day: str, expected: list[str]) -> None:
    found = shown(Timetable(cron, zone), day)
    assert [text[: len(wanted)] for text, wanted in zip(found, expected, strict=True)] == expected


def test_asked_within_the_second_of_two_equal_hours_the_first_is_not_told_again() -> None:
    table = Timetable("30 2 * * *", "Europe/Berlin")
    within = local("Europe/Berlin", "2026-10-25 02:10", fold=1)
    following = table.next(within)
    assert following == local("Europe/Berlin", "2026-10-26 02:30")
    assert table.latest(within, within + 3600) is None


@given(_TABLES, _MOMENTS, st.integers(1, 60 * 60 * 30), st.integers(0, 60 * 60 * 30))
@MODERATE
def test_times_follow_each_other_whenever_one_asks(
    table: Timetable, start: float, span: int, later: int
) -> None:
    all_times = times(table, start, start + span)
    assert all(before < after for before, after in pairwise(all_times))
    middle = start + min(later, span)
    assert times(table, middle, start + span) == [time for time in all_times if time > middle]


@given(_TABLES, _MOMENTS, st.integers(1, 60 * 60 * 30))
@MODERATE
def test_the_latest_is_the_last_of_all(table: Timetable, start: float, span: int) -> None:
    all_times = times(table, start, start + span)
    assert table.latest(start, start + span) == (all_times[-1] if all_times else None)


def test_a_long_outage_takes_few_looks() -> None:
    now = datetime(2026, 11, 23, 1, 15, 20, tzinfo=UTC).timestamp()
    assert Timetable("* * * * *", "UTC").latest(0.0, now) == now - 20
    yearly = Timetable("15 1 1 1 *", "Europe/Berlin").latest(0.0, now)
    assert yearly == local("Europe/Berlin", "2026-01-01 01:15")


def test_a_time_is_told_as_its_zone_shows_it() -> None:
    table = Timetable(" 15  2 * * *", "Europe/Berlin")
    assert str(table) == "15 2 * * * Europe/Berlin"
    assert table.words(local("Europe/Berlin", "2026-11-23 02:15")) == "2026-11-23 02:15 Europe/Berlin"


@given(st.text(alphabet="0123456789*/,-LW# ASUNMONJ.", max_size=40))
@MODERATE
def test_whatever_is_written_is_either_times_or_none(text: str) -> None:
    assert is_cron(text) in (True, False)


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "60 * * * *", "* * * * MON#6", "a b c d e", "0 0 * 2 MON#6"])
def test_no_times(cron: str) -> None:
    assert not is_cron(cron)


@pytest.mark.parametrize("name", ["Europe", "Europe/Berln", "localtim", "../etc", "Nowhere/At_All"])
def test_no_zones(name: str) -> None:
    assert not is_zone(name)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT-14"])
def test_zones(name: str) -> None:
    assert is_zone(name)
