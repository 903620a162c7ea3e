"""The LightGBM example: its section trains, and its own words on how to use the model are true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlpools_operator.api.v1alpha1 import parse
from tests.support.one_rank import OneRank
from tests.unit.examples.test_quickstart import give_unknown_category

EXAMPLE = Path(__file__).parents[3] / "examples" / "lightgbm"


def test_the_example_trains_and_its_readme_finds_the_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = yaml.safe_load((EXAMPLE / "training.yaml").read_text())
    section = parse("TrainingJob", manifest["spec"]).lightgbm
    assert section is not None
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", (EXAMPLE / "README.md").read_text(), re.M | re.S)
    here = OneRank(tmp_path)
    give_unknown_category(tmp_path / "in/eval.parquet")
    here.run(framework="lightgbm", spec=section.plain())
    result = json.loads((here.output / "result.json").read_text())
    assert result["bestRound"] < result["rounds"]  # so that the last round would give another number
    (tmp_path / "in/eval.parquet").rename(here.output / "eval")
    monkeypatch.chdir(here.output)
    names: dict[str, Any] = {}
    exec(compile(snippet, str(EXAMPLE), "exec"), names)
    assert names["rmse"] ** 2 == pytest.approx(result["metrics"]["eval"]["l2"], rel=1e-6)
