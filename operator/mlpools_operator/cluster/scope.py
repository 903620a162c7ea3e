"""Where objects are watched and listed: the whole cluster, or some namespaces and the operator's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlpools_operator.cluster.kinds import WATCHED, KindInfo, watched

#: Kinds of which the operator has some in its own namespace, whatever namespaces it serves: placeholders.
_AT_HOME = ("Pod",)


@dataclass(frozen=True, slots=True)
class Scope:
    """What one operator sees.

    Attributes:
        served: namespaces of users' objects; empty for all.
        home: the operator's own namespace.
    """

    served: Sequence[str]
    home: str

    @property
    def kinds(self) -> Mapping[str, KindInfo]:
        """The kinds that can be listed and watched."""
        return watched(everywhere=not self.served)

    def namespaces(self, kind: str) -> tuple[str, ...]:
        """Return where a kind is listed; the empty name is the whole cluster."""
        if not self.served or not WATCHED[kind].namespaced:
            return ("",)
        return (*self.served, *(self._unserved_home if kind in _AT_HOME else ()))

    def watches(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """Return the kinds to watch, by the namespaces in which they all are; none for the whole cluster."""
        watches: dict[tuple[str, ...], tuple[str, ...]] = {tuple(self.served): tuple(self.kinds)}
        if self.served and self._unserved_home:
            watches[self._unserved_home] = _AT_HOME
        return watches

    @property
    def _unserved_home(self) -> tuple[str, ...]:
        return () if self.home in self.served else (self.home,)
