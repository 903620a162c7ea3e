"""What an operator's process and its own metrics say: CPU, memory, requests, and times of passes."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.operator import Operator

_TICKS = os.sysconf("SC_CLK_TCK")
_LINE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True)
class Snapshot:
    """An operator at one moment; two of them make what happened between.

    Attributes:
        cpu: seconds.
        requests: by verb and resource.
        passes: number of passes by kind and upper bound of their seconds, cumulative as in a histogram.
    """

    cpu: float
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    passes: Counter[tuple[str, float]] = field(default_factory=Counter)

    def since(self, before: Snapshot) -> Snapshot:
        """Return what happened since an earlier one."""
        requests, passes = Counter(self.requests), Counter(self.passes)
        requests.subtract(before.requests)
        passes.subtract(before.passes)
        return Snapshot(self.cpu - before.cpu, requests, passes)

    def count(self, *resources: str, verbs: Iterable[str] = _WRITES) -> int:
        """Return the requests of some verbs to some resources, or to all but the lease's."""
        return sum(
            number
            for (verb, resource), number in self.requests.items()
            if verb in verbs and (resource in resources if resources else resource != "leases")
        )

    def pass_seconds(self, kind: str, share: float) -> float:
        """Return the seconds within which that share of a kind's passes ended: the bucket, interpolated."""
        bounds = sorted(bound for name, bound in self.passes if name == kind)
        counts = [self.passes[kind, bound] for bound in bounds]
        wanted, low, below = share * counts[-1], 0.0, 0
        for bound, count in zip(bounds, counts, strict=True):
            if count >= wanted:
                top = low if bound == float("inf") else bound
                return low + (top - low) * (wanted - below) / max(1, count - below)
            low, below = bound, count
        return low


def snapshot(operator: Operator) -> Snapshot:
    """Look at a running operator."""
    requests: Counter[tuple[str, str]] = Counter()
    passes: Counter[tuple[str, float]] = Counter()
    for line in operator.get("/metrics")[1].splitlines():
        found = _LINE.match(line)
        labels = dict(_LABEL.findall(found["labels"] or "")) if found else {}
        if found and found["name"] == "mlpools_api_requests_total":
            requests[labels["verb"], labels["resource"]] += int(float(found["value"]))
        elif found and found["name"] == "mlpools_pass_seconds_bucket":
            passes[labels["kind"], float(labels["le"])] = int(float(found["value"]))
    return Snapshot(cpu(operator), requests, passes)


def cpu(operator: Operator) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{operator.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(operator: Operator) -> float:
    """Return the most memory that a process ever had, in MiB."""
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
