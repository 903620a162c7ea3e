from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InvalidSpec
from mlpools_operator.domain import families
from tests.support.domain_values import a_pool
from tests.support.instances import FAMILIES
from tests.support.manifests import ABSENT


def _read(**changes: Any) -> ComputePoolSpec:
    return families.read(a_pool(**{"instance": ABSENT, **changes}).spec, FAMILIES)


def test_a_family_gives_the_shape_and_finds_the_machines() -> None:
    pool = _read(instanceFamily="gpu")
    assert families.order(pool) == ("gpu",)
    assert families.shape(pool, "gpu", FAMILIES).memory == "8Gi"
    assert families.find(pool, "gpu", FAMILIES).node_selector == {"machine": "gpu"}
    assert families.in_words(pool, "gpu", FAMILIES) == "gpu: 2 CPU, 8Gi, 1 GPU"


def test_a_shape_of_its_own_needs_no_catalogue() -> None:
    pool = families.read(a_pool().spec, families.NO_FAMILIES)
    assert families.order(pool) == ("",)
    assert families.find(pool, "", families.NO_FAMILIES).node_selector == {}
    assert families.in_words(pool, "", families.NO_FAMILIES) == "2 CPU, 4Gi"


def test_a_family_that_nobody_knows_is_named_with_those_there_are() -> None:
    with pytest.raises(InvalidSpec) as error:
        _read(instanceFamily="huge")
    assert str(error.value) == (
        "spec.instanceFamily: There is no instance family huge. "
        "The operator's catalogue has gpu, large, small."
    )
    with pytest.raises(InvalidSpec, match="catalogue has none: set the chart's value instanceFamilies"):
        families.read(a_pool(instance=ABSENT, instanceFamily="gpu").spec, families.NO_FAMILIES)


def test_a_family_that_the_pool_gave_up_is_not_found() -> None:
    with pytest.raises(InvalidSpec, match="the pool does not have the instance family small any more"):
        families.find(_read(instanceFamily="gpu"), "small", FAMILIES)
    with pytest.raises(InvalidSpec, match="does not have an instance of its own any more"):
        families.find(_read(instanceFamily="gpu"), "", FAMILIES)
