from __future__ import annotations

import concurrent.futures
import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mlpools.data.sql import threads
from mlpools.data.sql.threads import Stopped, in_threads
from tests.support.waiting import PATIENCE


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_LOOK_SECONDS", 0.01)


def test_results_are_in_the_order_of_their_items() -> None:
    second_done = threading.Event()

    def work(item: int, check: Callable[[], None]) -> int:
        check()
        if item == 1:
            second_done.wait(PATIENCE)
        else:
            second_done.set()
        return item * 10

    assert in_threads(work, [1, 2], 2, lambda: None) == [10, 20]


def test_nobody_hears_of_readers_that_do_not_get_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that hangs must not look alive."""
    heard: list[bool] = []
    looks = itertools.count()
    looked = threading.Event()

    def wait(*arguments: Any, **more: Any) -> Any:
        if next(looks) == 3:
            looked.set()
        return concurrent.futures.wait(*arguments, **more)

    monkeypatch.setattr(threads, "wait", wait)
    in_threads(lambda item, check: looked.wait(PATIENCE), [1], 1, lambda: heard.append(True))
    assert looked.is_set()
    assert not heard


def test_the_first_failure_stops_the_others() -> None:
    stopped = threading.Event()

    def work(item: int, check: Callable[[], None]) -> None:
        if item == 1:
            raise OSError("broken")
        while True:
            try:
                check()
            except Stopped:
                stopped.set()
                raise

    with pytest.raises(OSError, match="broken"):
        in_threads(work, [1, 2, 3], 2, lambda: None)
    assert stopped.is_set()
