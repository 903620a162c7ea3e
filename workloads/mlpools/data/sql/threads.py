"""Several readers at once, of which the first failure stops all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

_LOOK_SECONDS = 1.0


class Stopped(Exception):  # noqa: N818 - no error: another reader has it
    """This reader gives up, because another one failed."""


def in_threads(
    work: Callable[[int, Callable[[], None]], T],
    items: Sequence[int],
    threads: int,
    alive: Callable[[], None],
) -> list[T]:
    """Return what ``work`` makes of each item, in their order.

    Args:
        work: is given an item and a function to call often, which raises when there is no use in going on.
        items: what to do.
        threads: at once.
        alive: called about once a second by the calling thread, as long as work calls its function; what it
            raises stops all.
    """
    stop, further = threading.Event(), threading.Event()

    def check() -> None:
        further.set()
        if stop.is_set():
            raise Stopped

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, item, check) for item in items]
        try:
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=_LOOK_SECONDS, return_when=FIRST_EXCEPTION)
                if further.is_set():
                    further.clear()
                    alive()
                for future in done:
                    future.result()
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise
    return [future.result() for future in futures]
