"""What the pods of an attempt have to do, in the words of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Work:
    """The parts of a ``Task`` that depend on the kind of job.

    Attributes:
        framework: what runs.
        section: what it is told.
        data: name -> source.
        output: where its result goes, and what becomes of one that is there.
        checkpoint: where and when it saves how far it is; empty if it needs no such place.
        collective: whether its ranks work in step, so that the network between them has to be good.
        bare: a command that runs even in an image without Python, then without mlpools; empty if none does.
        one_gpu_each: whether a worker drives one GPU, so that a node has as many workers as GPUs.
    """

    framework: str
    section: Mapping[str, Any]
    data: Mapping[str, Any]
    output: Mapping[str, Any]
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    collective: bool = False
    bare: tuple[str, ...] = ()
    one_gpu_each: bool = False
