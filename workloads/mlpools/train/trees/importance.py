"""How much each feature did for a model of trees."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping

IMPORTANCE = "importance.csv"


@dataclasses.dataclass(frozen=True, order=True)
class Importance:
    """What one feature did in all trees together.

    Attributes:
        gain: by how much its splits lowered the loss.
        splits: how many there are.
    """

    gain: float = 0.0
    splits: int = 0


def table(importance: Mapping[str, Importance]) -> bytes:
    """Return a CSV table with a line for each feature, the most important first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["feature", "gain", "splits"])
    for name, of in sorted(importance.items(), key=lambda item: item[1], reverse=True):
        writer.writerow([name, f"{of.gain:.9g}", of.splits])
    return text.getvalue().encode()
