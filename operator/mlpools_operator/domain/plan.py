"""What a decision asks for. The controller executes it in the order of the fields, and nothing else.

A crash after any of the writes is harmless: the next pass observes what is there and plans the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

#: A Kubernetes object as plain JSON.
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """A deletion with a UID precondition and background propagation."""

    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Another number of pods for an Indexed Job, with a UID precondition."""

    namespace: str
    name: str
    uid: str
    pods: int


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about the planned resource; sent only after the status write that it tells of."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The next writes for one resource.

    Attributes:
        delete: sent first and together: what ends or frees nodes goes before what starts.
        apply: children to server-side apply (Service, NetworkPolicy, placeholder pods).
        scale: Jobs that get another number of pods.
        create: objects to POST once (an attempt's Job); "already exists" with our owner UID is success.
        status: the whole new status, or None to leave it; written if and only if it differs.
        events: sent after the status was stored.
        requeue_after: seconds until this resource wants another look, None = when something changes.
        secrets: Secrets to POST with a token made up on the spot; "already exists" is success, since nobody
            here may read who made it. They go with ``create``.
        look: whether a look at the notebook, taken now, may change the plan, which is then to be made anew.
    """

    delete: tuple[Delete, ...] = ()
    apply: tuple[Object, ...] = ()
    scale: tuple[Scale, ...] = ()
    create: tuple[Object, ...] = ()
    status: Mapping[str, Any] | None = None
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    secrets: tuple[Object, ...] = ()
    look: bool = False
