"""Memory that is used again once nobody has a view of it: the kernel clears new memory, which takes time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
#: Pieces that wait to be used again, at most.
_MOST = 2


class Spare:
    """Arrays of one kind of rows.

    Args:
        make: returns new memory for so many rows.
    """

    def __init__(self, make: Callable[[int], Array]) -> None:
        self._make = make
        self._idle: list[Array] = []

    def rows(self, count: int) -> Array:
        """Return an array for so many rows. Its memory comes back here with the last view of it."""
        memory = self._idle.pop() if self._idle else None
        if memory is None or len(memory) < count:
            memory = self._make(count)
        return np.asarray(_Loan(self._idle, memory))[:count]


class _Loan:
    """Holds memory for as long as there are views of it."""

    def __init__(self, idle: list[Array], memory: Array) -> None:
        self._idle, self._memory = idle, memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        if len(self._idle) < _MOST:
            self._idle.append(self._memory)
