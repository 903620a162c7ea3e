"""A rank's own work in a step: what its thread did, and what it could not do for want of a CPU."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from mlpools.train.own_time import OwnTime


def work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_sleep_in_a_step_is_a_wait_for_others(tmp_path: Path) -> None:
    account = tmp_path / "schedstat"
    account.write_text("0 0 0\n")
    own = OwnTime(account, window=0.0)
    assert own.seconds is None
    with own.step():
        work(0.02)
        time.sleep(0.2)
    assert own.seconds is not None
    assert 0.02 <= own.seconds < 0.2


def test_the_queue_for_a_cpu_is_the_ranks_own_time(tmp_path: Path) -> None:
    account = tmp_path / "schedstat"
    account.write_text("0 1000000000 1\n")
    own = OwnTime(account, window=0.0)
    with own.step():
        account.write_text("0 6000000000 2\n")
    assert own.seconds is not None
    assert 5.0 <= own.seconds < 5.2


def test_short_steps_are_averaged(tmp_path: Path) -> None:
    account = tmp_path / "schedstat"
    account.write_text("0 0 0\n")
    own = OwnTime(account, window=1000.0)
    for queued in (4, 4, 10):
        with own.step():
            account.write_text(f"0 {queued * 10**9} 1\n")
    assert own.seconds is None
    own = OwnTime(account, window=-1.0)
    with own.step():
        pass
    assert own.seconds is not None
    assert own.seconds < 1.0, "what was queued before does not count"


def test_laps_are_steps_from_the_second_one_on(tmp_path: Path) -> None:
    account = tmp_path / "schedstat"
    own = OwnTime(account, window=0.0)
    for queued, steps in ((100, 7), (104, 0), (110, 5)):
        account.write_text(f"0 {queued * 10**9} 1\n")
        own.lap(steps)
        assert (own.seconds is None) == (queued < 110), "of no step nothing is known"
    assert own.seconds is not None
    assert 2.0 <= own.seconds < 2.1


def test_the_time_of_another_thread_is_not_counted(tmp_path: Path) -> None:
    account = tmp_path / "schedstat"
    own = OwnTime(account, window=0.0)
    account.write_text("0 0 0\n")
    own.lap(0)
    account.write_text("0 900000000000 0\n")
    other = threading.Thread(target=own.lap, args=(1,))
    other.start()
    other.join()
    account.write_text("0 3000000000 0\n")
    own.lap(1)
    assert own.seconds is not None
    assert 3.0 <= own.seconds < 3.1


def test_nothing_is_said_where_the_kernel_does_not_count(tmp_path: Path) -> None:
    own = OwnTime(tmp_path / "absent", window=0.0)
    with own.step():
        work(0.01)
    assert own.seconds is None


def test_this_kernel_counts() -> None:
    own = OwnTime(window=0.0)
    with own.step():
        work(0.01)
    assert own.seconds is None or own.seconds >= 0.01
