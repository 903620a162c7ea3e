"""A host loses its network in the middle of a training: what its ranks say of it, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpools.contract.ends import Exit, Final
from tests.support.hosts import Hosts, hosts
from tests.support.pods import Pods, task, wait_for

#: More than any machine does while one waits.
_ENDLESS = 1_000_000


@dataclass(frozen=True)
class Trial:
    """A training whose attempts have a folder in common.

    Attributes:
        folder: for all that it leaves.
        ranks: of each attempt, one a pod.
        fields: of the task of a training of so many steps, which its ranks find in ``STEPS``, too.
        model: name of its file in the output.
    """

    folder: Path
    ranks: int
    fields: Callable[[int], dict[str, Any]]
    model: str

    def check_a_cut(self, lost: int) -> None:
        """See that both sides end and name who fell silent, and that the next attempt makes up for all of it.

        Args:
            lost: the rank that is cut off.
        """
        with hosts(self.ranks) as network, self._pods(_ENDLESS, 1, network) as pods:
            wait_for(lambda: self._saved() >= 20 or pods.ended(), 120, "a checkpoint")
            with network.cut(lost):
                finals = pods.wait(60)  # what else would end them comes after half an hour
            said = [pod.output() for pod in pods.pods]
        assert [final.code for final in finals] == [Exit.PEER_LOST] * self.ranks, said
        assert all(_names(final, self._silent(final.rank, lost)) for final in finals), finals
        steps = self._saved() + 5
        undisturbed = Trial(self.folder / "undisturbed", self.ranks, self.fields, self.model)
        expected = undisturbed._train(steps, 1)
        assert self._train(steps, 2) == expected

    def _silent(self, rank: int, lost: int) -> set[int]:
        """Return the ranks that one may name: who is cut off hears nobody, and is as right."""
        if rank != lost:
            return {lost}
        return {0} if lost else set(range(1, self.ranks))

    def _train(self, steps: int, attempt: int) -> bytes:
        """Train to the end, and return the model."""
        with self._pods(steps, attempt) as pods:
            finals = pods.wait(150)
            said = [pod.output() for pod in pods.pods]
        assert [final.code for final in finals] == [Exit.DONE] * self.ranks, said
        return (self.folder / "out" / self.model).read_bytes()

    def _pods(self, steps: int, attempt: int, network: Hosts | None = None) -> Pods:
        work = task(
            self.folder / "out",
            nodes=self.ranks,
            attempt=attempt,
            coordinator=network.address(0) if network else "127.0.0.1",
            checkpoint={"url": f"file://{self.folder}/saved", "everyRounds": 10, "keep": 2},
            hang_timeout_seconds=1800,
            **self.fields(steps),
        )
        interface = {"GLOO_SOCKET_IFNAME": "eth0" if network else "lo"}  # the machine's name leads to neither
        environ = {"STEPS": str(steps), **interface}
        return Pods(work, self.folder / f"pods-{attempt}", environ=environ, hosts=network)

    def _saved(self) -> int:
        """Return the step of the newest checkpoint."""
        found = (path.parent.name for path in self.folder.glob("saved/uid-1/*/COMMIT"))
        return max((int(name.removeprefix("step-")) for name in found), default=0)


def _names(final: Final, ranks: set[int]) -> bool:
    """Whether a rank says that one of some ranks has fallen silent."""
    return any(final.message.startswith(f"Rank {rank} has not been heard for ") for rank in ranks)
