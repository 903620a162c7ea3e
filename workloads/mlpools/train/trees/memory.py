"""What is said of rows that fit nowhere, before they are read."""

from __future__ import annotations

import math

from mlpools.errors import OutOfMemory

#: A worker with its libraries, before it has rows.
WORKER_BYTES = 150 << 20


def too_large(rows: int, features: int, needed: int, there: int, nodes: int, what: str) -> OutOfMemory:
    """Return the failure of a rank whose rows do not fit.

    Args:
        rows: of the rank, of all sets.
        features: columns to learn from.
        needed: bytes.
        there: bytes that the rank may use.
        nodes: of the job, for what to do.
        what: the bytes are of, "memory" or "local disk".
    """
    beyond = WORKER_BYTES if what == "memory" else 0
    enough = math.ceil(nodes * (needed - beyond) / max(1, there - beyond)) if there > beyond else 0
    more = f"about {enough} nodes" if enough else "more nodes"
    return OutOfMemory(
        f"{rows:,} rows of {features:,} columns on one rank need about {_gigabytes(needed)} "
        f"of {what}, and it may use {_gigabytes(there)}: use {more}, a pool with more {what} per node, "
        "or fewer columns."
    )


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number / 1e6:,.0f} MB"
