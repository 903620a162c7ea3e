"""The catalogue that the chart brings: usable by the operator, and as the documents say."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from mlpools_operator.domain.pool.families import Family
from mlpools_operator.domain.quantities import shape_in_words
from tests.support.published import ROOT

VALUES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "charts/mlpools/values.yaml").read_text())
CATALOGUE = {name: Family.model_validate(entry) for name, entry in VALUES["instanceFamilies"].items()}
ROW = re.compile(r"^\| `([a-z0-9-]+)` \|([^|]*)\|([^|]*)\|", re.M)


def test_the_documents_table_is_the_charts_catalogue() -> None:
    rows = ROW.findall((ROOT / "docs" / "instance-families.md").read_text())
    assert {name: (shape.strip(), label.strip(" `")) for name, shape, label in rows} == {
        name: (shape_in_words(family.instance), family.node_selector.get("nvidia.com/gpu.product", ""))
        for name, family in CATALOGUE.items()
    }


@pytest.mark.parametrize("name", CATALOGUE)
def test_gpu_machines_are_told_apart_and_their_taint_is_borne(name: str) -> None:
    family = CATALOGUE[name]
    assert bool(family.instance.gpus) == name.startswith("gpu-") == bool(family.node_selector)
    assert bool(family.instance.gpus) == ("nvidia.com/gpu" in {it.key for it in family.tolerations})
