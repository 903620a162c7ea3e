"""What a pod tells while it runs, and what its worker tells its supervisor for that."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from mlpools.document import Document


class Phase(str, enum.Enum):
    """Where a pod is, in the order in which it gets there."""

    STARTING = "Starting"
    CODE = "Code"
    PACKAGES = "Packages"
    FABRIC = "Fabric"
    DATA = "Data"
    RENDEZVOUS = "Rendezvous"
    WORKING = "Working"
    FINISHING = "Finishing"
    ENDED = "Ended"


@dataclasses.dataclass(frozen=True)
class Report(Document):
    """How far a pod is; a worker's lines update it, and its supervisor serves it.

    Attributes:
        phase: one of ``Phase``.
        rank: node rank of the pod.
        attempt: of the task.
        step: finished boosting rounds, optimizer steps, …; it never falls within an attempt.
        total_steps: 0 = unknown.
        rows_per_second: rows of training data passed over, all ranks together.
        eta_seconds: to the end, as far as one can say.
        metrics: latest values, such as ``{"eval-rmse": 17.9}``.
        checkpoint_step: newest committed checkpoint, 0 = none.
        seconds: how long each finished phase took, such as ``{"Data": 1.2}``.
        age_seconds: since the last line of a worker. A span, since clocks of pods differ.
        memory_bytes: in use by the processes of the rank that uses most, as far as this pod knows of others.
        memory_rank: that rank.
        slow_times: how many times as long as the others ``slow_rank`` takes for its own part of a step, so
            that they wait for it; 0 = none holds up the others.
        slow_rank: that rank.
        message: one sentence about what it is doing now, where that helps.
        dashboard: URL of the Ray cluster's dashboard, as the pods know it; empty if there is none.
        fabric: a sentence about the network between the ranks, if it was measured and is good enough.
        shards: of a batch inference: ``{total, done, failed}``.
        rows: of a batch inference: ``{total, done, failed}``.
        weak_commit: a sentence if the output's place cannot make a file only once.
    """

    phase: str
    rank: int = 0
    attempt: int = 1
    step: int = 0
    total_steps: int = 0
    rows_per_second: float = 0.0
    eta_seconds: float | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    checkpoint_step: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    age_seconds: float = 0.0
    memory_bytes: int = 0
    memory_rank: int = 0
    slow_times: float = 0.0
    slow_rank: int = 0
    message: str = ""
    dashboard: str = ""
    fabric: str = ""
    shards: dict[str, int] = dataclasses.field(default_factory=dict)
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    weak_commit: str = ""


@dataclasses.dataclass(frozen=True)
class Activity(Document):
    """How far a notebook is used, served by its supervisor at ``GET :8470/status``.

    Spans of time instead of moments: the clocks of two machines need not agree.

    Attributes:
        attempt: as told.
        serving: its program takes connections.
        unused_seconds: since it was used last, by a person or by what runs in it.
        untouched_seconds: since a person did something.
        used_by: what used it last, in a few words, such as ``a busy kernel``.
        trouble: what is in its way now or soon, such as a disk that is nearly full; empty if nothing is.
        gpu_unseen: it has GPUs, and nobody can see here whether they work.
        dashboard: URL of its Ray cluster's dashboard, from inside; empty if there is none.
        said: the last lines of its program, or of what comes before, while it does not serve; empty if nobody
            here hears them.
    """

    attempt: int
    serving: bool
    unused_seconds: float
    untouched_seconds: float
    used_by: str = ""
    trouble: str = ""
    gpu_unseen: bool = False
    dashboard: str = ""
    said: str = ""


@dataclasses.dataclass(frozen=True)
class Note(Document):
    """One line of a worker to its supervisor: what changed since the last one.

    A worker writes a note only when it got further, so each of them proves that it is not hung.

    Attributes:
        own_seconds: how long the worker itself works on a step; the wait for other ranks is left out.
        final: a ``Final`` as plain JSON: the worker's own account of how it ended, its last note.
        cluster: a ``ClusterNote`` as plain JSON, of the head of a notebook's Ray cluster.

    The other fields are those of ``Report``; absent means unchanged.
    """

    phase: str | None = None
    step: int | None = None
    total_steps: int | None = None
    rows_per_second: float | None = None
    eta_seconds: float | None = None
    metrics: dict[str, float] | None = None
    checkpoint_step: int | None = None
    message: str | None = None
    dashboard: str | None = None
    fabric: str | None = None
    own_seconds: float | None = None
    shards: dict[str, int] | None = None
    rows: dict[str, int] | None = None
    weak_commit: str | None = None
    final: dict[str, Any] | None = None
    cluster: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class ClusterNote(Document):
    """What the head of a notebook's Ray cluster sees, told every few seconds.

    Attributes:
        nodes: addresses of the nodes that have joined, the head's too.
        busy: a task or a submitted job runs.
    """

    nodes: list[str] = dataclasses.field(default_factory=list)
    busy: bool = False
