"""Libraries without optional packages that they import wherever they find them, and that nobody uses here.

XGBoost and LightGBM have classes of their own that follow scikit-learn's, and import it and pandas for them;
Arrow imports pandas with the first list that becomes an array. That is 100 MB in each process.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


def import_lean(name: str, unused: Sequence[str]) -> ModuleType:
    """Import a module, and what it imports, as if some packages were not installed.

    Its libraries do without them from then on: XGBoost's and LightGBM's classes for scikit-learn raise,
    and LightGBM and Arrow take no frames of pandas. So this is for processes in which nobody else's code
    runs. The packages themselves can be imported afterwards as ever.

    Args:
        name: of the module, which needs Arrow.
        unused: top-level names of packages; one that is loaded already stays.
    """
    with without(*unused):
        import pyarrow

        pyarrow.array(())  # it looks once whether there is pandas, whatever it is asked for
        return importlib.import_module(name)


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Let packages that are not loaded yet seem not to be installed."""
    finder = _Nowhere(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Nowhere(MetaPathFinder):
    """Finds nothing, before others find it.

    None in ``sys.modules`` says the same, but not to modules that Cython made, such as Arrow's.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = frozenset(packages)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname in self._packages:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
