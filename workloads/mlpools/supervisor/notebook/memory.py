"""Whether the system ended programs of the notebook because its memory did not suffice.

Most machines end a container as a whole then, which the operator hears from the kubelet. Where only the
program with the most memory ends (version 1 of control groups, or a kubelet with ``singleProcessOOMKill``),
that is a kernel, which Jupyter starts again without a word of why.
"""

from __future__ import annotations

from pathlib import Path

from mlpools.supervisor import cgroup


class Memory:
    """Counts from its making on."""

    def __init__(self, root: Path = cgroup.ROOT) -> None:
        self._root, self._kills = root, cgroup.oom_kills(root)

    def trouble(self) -> str:
        """Return one sentence about what was ended, empty if nothing was."""
        if cgroup.oom_kills(self._root) == self._kills:
            return ""
        memory = cgroup.limits(self._root).memory
        limit = f" of {memory / (1 << 30):.1f} GiB" if memory else ""
        return (
            f"It ran out of memory at the limit{limit}, and the system ended a program in it: what that held "
            "(such as the variables of a kernel) is gone. Hold less in memory at once, or take a pool with "
            "more memory per node."
        )
