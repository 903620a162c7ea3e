"""One package to install."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Pinned:
    """A package as rank 0 resolved it.

    Attributes:
        sha256: of its file.
        file: name of its file, a wheel.
        needed_by: a package that needs it; empty if the job names it itself.
    """

    name: str
    version: str
    sha256: str
    file: str
    needed_by: str = ""
