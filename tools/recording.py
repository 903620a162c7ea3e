"""Record `kubectl get tj -w -A` while two teams fill a pool: a real run, for the docs.

    python -m tools.recording          # on the cluster of `make run`, with the flights in its volume

One job is preempted, a small one passes a large one, and one fails. All lines go, with their times, to
`docs/images/busy-queue.cast` (asciicast v2; `asciinema play` shows it); the picture beside it leaves out the
lines in which nothing but the progress is new.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from tools.cluster.instance import default_state
from tools.kubectl import Kubectl
from tools.quickstart import data
from tools.steps import ToolError, step, told, wait_for

IMAGES = Path("docs/images")
NAME = "busy-queue"
#: Of the recorded jobs, so that others in the cluster stay out of the picture.
LABEL = "recording=busy-queue"
COMMAND = ("get", "trainingjobs", "--watch", "--all-namespaces", f"--selector={LABEL}")
SHOWN = f"kubectl get tj -w -A -l {LABEL}"
COLUMNS = 112
POOL = "busy"
TEAMS = ("team-a", "team-b")
_PROGRESS = re.compile(r"\d+% \S+ \S+( \d+s)?")
_AGE = re.compile(r"\s\S+$")
#: Words of a line whose job has no status yet: namespace, name, pool and age.
_UNSEEN = 4
_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)
_COLORS = {
    "Running": "green",
    "Succeeded": "bold green",
    "Failed": "bold red",
    "Queued": "yellow",
    "Preempted": "magenta",
}

Line = tuple[float, str]


class Watch:
    """A `kubectl get --watch`, its lines noted with the seconds since it began."""

    def __init__(self, cluster: Kubectl) -> None:
        self.lines: list[Line] = []
        self._began = time.monotonic()
        self._process = subprocess.Popen(cluster.command(*COMMAND), stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.lines.append((time.monotonic() - self._began, line.rstrip()))

    def end(self) -> None:
        """Stop watching."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()


def job(name: str, nodes: int, rounds: int, **changes: Any) -> dict[str, Any]:
    """Return a TrainingJob on a quarter of the flights."""
    spec = {
        "computePool": POOL,
        "nodes": nodes,
        "xgboost": {"rounds": rounds, "label": "arr_delay", "params": {"max_depth": 6, "eta": 0.05}},
        "data": {"train": {"parquet": {"url": "file:///data/flights/train/part-0.parquet"}}},
        "output": {"url": f"file:///data/models/{NAME}/{name}", "mode": "Overwrite"},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": data.CLAIM}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        **changes,
    }
    kind = {"apiVersion": "mlpools.dev/v1alpha1", "kind": "TrainingJob"}
    return {**kind, "metadata": {"name": name, "labels": dict([LABEL.split("=")])}, "spec": spec}


def prepare(cluster: Kubectl) -> None:
    """Make the pool, and a namespace for each team whose claim has the folder of the quickstart's."""
    source = cluster.get("persistentvolumeclaim", data.CLAIM)
    volume = source and cluster.get("persistentvolume", source["spec"]["volumeName"])
    if not volume:
        raise ToolError("There are no flights in the cluster: `make run` brings them.")
    queue = {"preemption": "LowerPriority"}
    shape = {"instance": {"cpu": "500m", "memory": "1Gi"}, "maxNodes": 3, "queue": queue}
    items: list[dict[str, Any]] = [
        {
            "apiVersion": "mlpools.dev/v1alpha1",
            "kind": "ComputePool",
            "metadata": {"name": POOL},
            "spec": shape,
        }
    ]
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    for team in TEAMS:
        items += [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}},
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": team},
                "spec": {
                    **common,
                    "capacity": size,
                    "hostPath": volume["spec"]["hostPath"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "claimRef": {"namespace": team, "name": data.CLAIM},
                },
            },
        ]
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    for team in TEAMS:
        spec = {**common, "volumeName": team, "resources": {"requests": size}}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": data.CLAIM}}
        cluster.apply(json.dumps({**claim, "spec": spec}), namespace=team)


def play(cluster: Kubectl) -> None:
    """Submit the jobs, each when those before it have come so far, and wait until all have ended."""

    def phase(team: str, name: str) -> str:
        found = cluster.get("trainingjob", name, team) or {}
        return str(found.get("status", {}).get("phase", ""))

    def until(team: str, name: str, *phases: str) -> None:
        def reason() -> str | None:
            now = phase(team, name)
            return None if now in phases else f"{name} is {now or 'new'}"

        wait_for(f"{name} {phases[0]}", reason, seconds=180, every=0.3)

    def submit(team: str, *arguments: Any, **changes: Any) -> None:
        cluster.apply(json.dumps(job(*arguments, **changes)), namespace=team)

    submit("team-a", "churn", 2, 700)
    until("team-a", "churn", "Running")
    submit("team-b", "fraud", 2, 150)
    until("team-b", "fraud", "Queued")
    submit("team-a", "typo", 1, 5, data={"train": {"parquet": {"url": "file:///data/flights/trian/*"}}})
    until("team-a", "typo", "Failed")
    submit("team-b", "urgent", 2, 100, priority=10)
    for team, name in (("team-b", "urgent"), ("team-b", "fraud"), ("team-a", "churn")):
        until(team, name, "Succeeded")


def cast(lines: list[Line]) -> str:
    """Return the recording as asciicast v2."""
    header = {"version": 2, "width": COLUMNS, "height": 40, "title": SHOWN}
    events = [[0.0, "o", f"$ {SHOWN}\r\n"], *([round(at, 3), "o", f"{line}\r\n"] for at, line in lines)]
    return "".join(f"{json.dumps(entry)}\n" for entry in (header, *events))


def transitions(lines: list[Line]) -> list[Line]:
    """Return the lines in which more than progress and age is new, once the operator has seen the job."""
    last: dict[tuple[str, ...], str] = {}
    kept = []
    for at, line in lines:
        said = " ".join(_AGE.sub("", _PROGRESS.sub("", line)).split())
        who = tuple(line.split()[:2])
        if last.get(who) != said and len(line.split()) > _UNSEEN:
            kept.append((at, line))
        last[who] = said
    return kept


def svg(lines: list[Line]) -> str:
    """Return the picture of a terminal with these lines, each after the second at which it came."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"      $ {SHOWN}"))
    for at, line in lines:
        text = Text(f"{at:4.0f}s ", style="dim")
        text.append(line)
        for word, color in _COLORS.items():
            text.highlight_words([f" {word} "], style=color)
        console.print(text, no_wrap=True, overflow="crop")
    # The reader's own monospaced font does: a page of the docs loads nothing from elsewhere.
    return _FONT.sub("", console.export_svg(title="a busy queue"))


def main() -> None:
    """Record one run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kubeconfig", type=Path, default=default_state("dev") / "kubeconfig")
    cluster = Kubectl(parser.parse_args().kubeconfig)
    with told():
        with step("making two teams and their pool"):
            prepare(cluster)
        watch = Watch(cluster)
        try:
            with step("filling the queue"):
                play(cluster)
        finally:
            watch.end()
            for team in TEAMS:
                cluster.delete("namespace", team)
                cluster.delete("persistentvolume", team)
            cluster.delete("computepool", POOL)
        IMAGES.mkdir(parents=True, exist_ok=True)
        (IMAGES / f"{NAME}.cast").write_text(cast(watch.lines))
        (IMAGES / f"{NAME}.svg").write_text(svg(transitions(watch.lines)))


if __name__ == "__main__":
    main()
