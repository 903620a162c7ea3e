"""What a person reads on the screen, with all that differs from run to run replaced by a word."""

from __future__ import annotations

import json
import re
from typing import Any

from tools.kubectl import Kubectl

#: Pattern and what stands for it.
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"-(\d+)-(\d+)-[a-z0-9]{5}\b"), r"-\1-\2-xxxxx"),
    (re.compile(r"\d+% train-rmse [\d.e+-]+( \d+s)?"), "PROGRESS"),
    (re.compile(r" and is \d+ % done \(about \d+ (s|min|h|days) left\)"), " and is N % done (about T left)"),
    (re.compile(r"\bround \d+\b"), "round N"),
)
_AGE = re.compile(r" (\d+[smhd])+$")


def plain(text: str) -> str:
    """Return a text in one line, with words for what varies."""
    line = " ".join(text.split())
    for pattern, word in _VARYING:
        line = pattern.sub(word, line)
    return line


def table(cluster: Kubectl, *command: str) -> list[str]:
    """Return the lines of `kubectl get`, with single spaces between the columns and AGE for an age."""
    return [plain(_AGE.sub(" AGE", line.rstrip())) for line in cluster.run("get", *command).splitlines()]


def description(cluster: Kubectl, kind: str, name: str, namespace: str = "default") -> str:
    """Return what `kubectl describe` prints, in one line."""
    return plain(cluster.run("describe", kind, name, f"--namespace={namespace}"))


def _when(event: dict[str, Any]) -> tuple[str, int]:
    """Return an Event's second, and its place among those of the same one."""
    second = event.get("eventTime") or event.get("firstTimestamp") or ""
    return second, int(event["metadata"]["resourceVersion"])


def events(cluster: Kubectl, kind: str, name: str, namespace: str = "default") -> list[str]:
    """Return the Events of an object in their order, such as `Normal Complete Trained …`."""
    known = cluster.get(kind, name, namespace)
    assert known is not None, f"{kind} {name} is gone"
    chosen = f"--field-selector=involvedObject.uid={known['metadata']['uid']}"
    text = cluster.run("get", "events", f"--namespace={namespace}", chosen, "-o", "json")
    found = sorted(json.loads(text)["items"], key=_when)
    return [plain(f"{it['type']} {it['reason']} {it['message']}") for it in found]
