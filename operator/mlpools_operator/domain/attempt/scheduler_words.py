"""What the scheduler says of a pod for which it finds no machine, and what would help.

Its sentence counts machines by what is wrong with them: ``0/5 nodes are available: 3 Insufficient cpu,
2 node(s) had untolerated taint {gpu: yes}. no new claims to deallocate, preemption: …``.
"""

from __future__ import annotations

import re

_PREEMPTION = re.compile(r"\s*(no new claims to deallocate,\s*)?preemption:.*", re.DOTALL)
_CLAIM = re.compile(r"persistentvolumeclaim", re.IGNORECASE)
_ROOM = re.compile(
    r"Insufficient |Too many pods|free ports|pod anti-affinity|pod affinity rules|topology spread"
)
_ELSE = "add machines, or have the pool's shape and placement fit those there are"
_REMEDIES = (
    (_CLAIM, "make the PersistentVolumeClaim in the job's namespace, or have it bound"),
    (
        re.compile(r"Insufficient (?P<what>[^\s,.]+(?:\.[^\s,.]+)*)"),
        "add machines with that much {what} free, or have the pool's shape ask for less",
    ),
    (
        re.compile(r"untolerated taint(?:\(s\))?(?: \{(?P<what>[^}:]+))?"),
        "add the taint {what} to the pool's tolerations if its pods may run there",
    ),
    (
        re.compile(r"node affinity/selector"),
        "give machines the labels of the pool's nodeSelector and of its family, or correct those",
    ),
    (
        re.compile(r"pod affinity rules|topology spread"),
        "set the pool's placement.required to false, or add machines in the wanted place",
    ),
    (re.compile(r"volume node affinity"), "use a volume that machines of the pool can mount"),
    (re.compile(r"were unschedulable"), "uncordon machines"),
)


def short(words: str) -> str:
    """Return the sentence without what the scheduler says of preemption, which repeats it."""
    return _PREEMPTION.sub("", words).rstrip(". ")


def about_volumes(words: str) -> bool:
    """Whether a claim of the job is absent or unbound, so that no machine whatever would do."""
    return bool(_CLAIM.search(words))


def about_room(words: str) -> bool:
    """Whether a machine would do if other pods left it."""
    return bool(_ROOM.search(short(words)))


def remedy(words: str) -> str:
    """Return a sentence, without its end, that says what would let the pod be scheduled."""
    helps = dict.fromkeys(
        advice.format(**found.groupdict("")).replace("  ", " ")
        for pattern, advice in _REMEDIES
        if (found := pattern.search(short(words)))
    )
    text = "; or ".join(helps) or _ELSE
    return text[0].upper() + text[1:]
