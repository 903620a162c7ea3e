"""Memory is used again, and never as long as somebody has a view of it."""

from __future__ import annotations

import numpy as np

from mlpools.data.spare import Spare


def spare() -> Spare:
    return Spare(lambda rows: np.empty((rows, 3), np.float32))


def address(array: np.ndarray) -> int:  # type: ignore[type-arg]
    return int(array.ctypes.data)


def test_memory_is_used_again_for_as_many_rows_or_fewer() -> None:
    kind = spare()
    array = kind.rows(10)
    assert (array.shape, array.dtype, array.flags.writeable) == ((10, 3), np.float32, True)
    place = address(array)
    del array
    again = kind.rows(7)
    assert (address(again), again.shape) == (place, (7, 3))
    del again
    assert len(kind.rows(11)) == 11


def test_memory_of_which_there_is_a_view_is_nobody_elses() -> None:
    kind = spare()
    held = []
    for i in range(20):
        array = kind.rows(5)
        array[...] = i
        held.append(array[1:3, 1].T if i % 2 else array.view(np.uint8)[2:])
        del array
    for i, view in enumerate(held):
        assert np.all(view.view(np.float32) == i)


def test_little_waits() -> None:
    kind = spare()
    held = [kind.rows(5) for _ in range(10)]
    held.clear()
    assert len(kind._idle) == 2
