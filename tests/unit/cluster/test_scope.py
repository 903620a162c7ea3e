from __future__ import annotations

from mlpools_operator.cluster.kinds import WATCHED
from mlpools_operator.cluster.scope import Scope


def test_the_whole_cluster_is_one_watch_a_kind() -> None:
    scope = Scope((), "mlpools-system")
    assert scope.watches() == {(): tuple(WATCHED)}
    assert {scope.namespaces(kind) for kind in scope.kinds} == {("",)}


def test_of_its_own_namespace_it_sees_its_placeholders_and_nothing_else() -> None:
    scope = Scope(("team-a", "team-b"), "mlpools-system")
    assert scope.watches()[("mlpools-system",)] == ("Pod",)
    assert scope.namespaces("Pod") == ("team-a", "team-b", "mlpools-system")
    assert scope.namespaces("TrainingJob") == ("team-a", "team-b")
    assert scope.namespaces("ComputePool") == ("",)


def test_its_own_namespace_may_be_served_too() -> None:
    scope = Scope(("team-a", "mlpools-system"), "mlpools-system")
    assert scope.watches() == {("team-a", "mlpools-system"): tuple(scope.kinds)}
    assert scope.namespaces("Pod") == ("team-a", "mlpools-system")
