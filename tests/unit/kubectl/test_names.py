"""Which object is meant by a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from mlpools_kubectl import names
from mlpools_kubectl.cluster import Cluster, Object
from mlpools_kubectl.failures import Failure, Forbidden, NotFound
from mlpools_kubectl.kinds import ALL, WORK
from mlpools_operator.cluster.kinds import KindInfo


@dataclass
class Holding:
    """A cluster that has some objects, and of some kinds says nothing."""

    there: dict[str, list[str]]
    barred: tuple[str, ...] = ()
    namespace: str = "team-a"

    def find(self, info: KindInfo, name: str) -> Object | None:
        return next((it for it in self.list(info) if it["metadata"]["name"] == name), None)

    def list(self, info: KindInfo) -> list[Object]:
        if info.kind in self.barred:
            raise Forbidden(f"no {info.plural} for you")
        return [{"kind": info.kind, "metadata": {"name": it}} for it in self.there.get(info.kind, ())]


def find(text: str, *barred: str, among: tuple[str, ...] = ALL, **there: list[str]) -> str:
    return names.reference(names.find(cast(Cluster, Holding(there, barred)), text, among))


@pytest.mark.parametrize("text", ["delay", "tj/delay", "trainingjobs/delay", "TrainingJob/delay"])
def test_a_name_or_a_kind_and_a_name(text: str) -> None:
    assert find(text, TrainingJob=["delay"]) == "tj/delay"


def test_two_of_one_name_have_to_be_told_apart() -> None:
    there = {"TrainingJob": ["x"], "NotebookRuntime": ["x"]}
    with pytest.raises(Failure, match="say tj/x or nb/x"):
        find("x", **there)
    assert find("nb/x", **there) == "nb/x"


def test_what_is_not_there_is_told_with_what_is_near() -> None:
    with pytest.raises(NotFound, match="did you mean arrival-delay\\?"):
        find("arival-delay", TrainingJob=["arrival-delay", "other"])
    with pytest.raises(NotFound, match=r"in namespace team-a; there are a, b\."):
        find("zzz", TrainingJob=["a"], BatchInference=["b"])
    with pytest.raises(NotFound, match="there is none at all"):
        find("zzz", among=WORK)
    with pytest.raises(NotFound, match="none of the kinds that this command is for"):
        find("cp/cpu", among=WORK)


def test_kinds_that_one_may_not_read_are_passed_unless_they_are_meant() -> None:
    assert find("delay", "ComputePool", TrainingJob=["delay"]) == "tj/delay"
    with pytest.raises(NotFound, match="There is no TrainingJob, BatchInference or NotebookRuntime zzz"):
        find("zzz", "ComputePool", TrainingJob=["delay"])
    with pytest.raises(Forbidden, match="no computepools for you"):
        find("cp/cpu", "ComputePool")
