from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InvalidSpec
from mlpools_operator.domain.pool import families
from mlpools_operator.domain.pool.families import Family
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
        "The operator's catalogue has gpu, large, larger, small."
    )
    with pytest.raises(InvalidSpec, match="catalogue has none: set the chart's value instanceFamilies"):
        families.read(a_pool(instance=ABSENT, instanceFamily="gpu").spec, families.NO_FAMILIES)


@pytest.mark.parametrize(
    ("backup", "first", "said"),
    [
        ("small", "large", "gives less cpu and memory"),
        ("large", "gpu", "gives less memory and nvidia.com/gpu"),
        ("huge", "large", "There is no instance family huge"),
    ],
)
def test_a_backup_is_as_large_as_the_first_and_known(backup: str, first: str, said: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        _read(instanceFamily=first, backupInstanceFamilies=[backup])
    assert said in str(error.value)
    assert "spec.backupInstanceFamilies[0]" in str(error.value)


def test_disk_and_gpus_are_compared_too() -> None:
    shapes = {
        "plain": {"cpu": 1, "memory": "1Gi"},
        "disk": {"cpu": "1000m", "memory": "1024Mi", "ephemeralStorage": "1Gi"},
        "more-disk": {"cpu": 1, "memory": "1Gi", "ephemeralStorage": "2Gi"},
        "gpu": {"cpu": 1, "memory": "1Gi", "gpus": 1},
        "other-gpu": {"cpu": 1, "memory": "1Gi", "gpus": 4, "gpuResource": "amd.com/gpu"},
        "gpus": {"cpu": 1, "memory": "1Gi", "gpus": 2},
    }
    catalogue = {name: Family.model_validate({"instance": shape}) for name, shape in shapes.items()}

    def fits(first: str, backup: str) -> bool:
        pool = a_pool(instance=ABSENT, instanceFamily=first, backupInstanceFamilies=[backup])
        try:
            families.read(pool.spec, catalogue)
        except InvalidSpec:
            return False
        return True

    assert {
        (first, backup) for first in shapes for backup in shapes if first != backup and fits(first, backup)
    } == {
        ("disk", "plain"),
        ("disk", "more-disk"),
        ("more-disk", "plain"),
        ("plain", "gpu"),
        ("plain", "gpus"),
        ("plain", "other-gpu"),
        ("disk", "gpu"),
        ("disk", "gpus"),
        ("disk", "other-gpu"),
        ("more-disk", "gpu"),
        ("more-disk", "gpus"),
        ("more-disk", "other-gpu"),
        ("gpu", "gpus"),
    }


def test_a_family_that_the_pool_gave_up_is_not_found() -> None:
    with pytest.raises(InvalidSpec, match="the pool does not have the instance family small any more"):
        families.find(_read(instanceFamily="gpu"), "small", FAMILIES)
    with pytest.raises(InvalidSpec, match="does not have an instance of its own any more"):
        families.find(_read(instanceFamily="gpu"), "", FAMILIES)
