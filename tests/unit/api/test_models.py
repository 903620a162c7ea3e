from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.data.sources import ParquetSource, from_spec
from mlpools_operator.api.v1alpha1 import KINDS, InvalidSpec, TrainingJobSpec, amount, parse
from mlpools_operator.api.v1alpha1.meta import camel
from tests.support.manifests import ABSENT, spec


def test_a_spec_of_a_newer_release_can_be_read() -> None:
    job = parse("TrainingJob", spec("TrainingJob", {"fieldOfTomorrow": 1, "output.retention": "30d"}))
    assert job == parse("TrainingJob", spec("TrainingJob"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": 0}, "spec.nodes: Input should be greater than or equal to 1."),
        ({"computePool": ABSENT}, "spec.computePool: Field required."),
        ({"volumes": [{"name": "data"}]}, "spec.volumes[0]: A volume is exactly one of"),
        ({"output.url": "/elsewhere"}, "spec.output.url: output.url must lie on a writable volume"),
        ({"nodes": 0, "priority": "high"}, "spec.nodes: Input should be greater than or equal to 1 (1 more"),
    ],
)
def test_an_invalid_spec_is_one_sentence_with_the_path(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        parse("TrainingJob", spec("TrainingJob", changes))
    sentence = str(refusal.value)
    assert sentence.startswith(words)
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_parsing_what_plain_returns_gives_the_same_spec() -> None:
    job = parse("TrainingJob", spec("TrainingJob", {"env": [{"name": "A", "value": "b"}]}))
    assert parse("TrainingJob", job.plain()) == job
    pool = parse("ComputePool", spec("ComputePool"))
    assert parse("ComputePool", pool.plain()) == pool


def test_plain_leaves_out_what_is_absent_and_keeps_parameters_as_they_are() -> None:
    job = parse(
        "TrainingJob", spec("TrainingJob", {"xgboost.params": {"max_depth": 3, "eta": 0.5, "x": [1, "a"]}})
    )
    assert job.xgboost is not None
    plain = job.xgboost.plain()
    assert plain["params"] == {"max_depth": 3, "eta": 0.5, "x": [1, "a"]}
    assert "features" not in plain
    assert plain["rounds"] == 100


@pytest.mark.parametrize(
    ("given", "interval"),
    [
        ({}, {"everySeconds": 300}),
        ({"keep": 5}, {"everySeconds": 300}),
        ({"everySeconds": 60}, {"everySeconds": 60}),
        ({"everyRounds": 10}, {"everyRounds": 10}),
    ],
)
def test_checkpoints_have_exactly_one_interval(given: dict[str, int], interval: dict[str, int]) -> None:
    checkpoint = parse("TrainingJob", spec("TrainingJob", {"checkpoint": given})).checkpoint.plain()
    assert {key: value for key, value in checkpoint.items() if key.startswith("every")} == interval
    absent = parse("TrainingJob", spec("TrainingJob")).checkpoint
    assert absent.every_seconds == 300


def test_a_source_gives_its_places_in_order() -> None:
    one = parse("TrainingJob", spec("TrainingJob")).data["train"].parquet
    several = {"data.train.parquet": {"urls": ["/data/b", "/data/a"]}}
    two = parse("TrainingJob", spec("TrainingJob", several)).data["train"].parquet
    assert one is not None
    assert two is not None
    assert one.places == ("file:///data/train/*.parquet",)
    assert two.places == ("/data/b", "/data/a")


def test_the_framework_is_the_section_that_is_given() -> None:
    assert parse("TrainingJob", spec("TrainingJob")).framework == "xgboost"


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("2", 2),
        ("500m", Decimal("0.5")),
        ("4Gi", 4 * 2**30),
        ("1.5G", 1_500_000_000),
        ("10Ei", 10 * 2**60),
        ("0", 0),
    ],
)
def test_amount(quantity: str, number: Decimal) -> None:
    assert amount(quantity) == number


@given(st.integers(min_value=0, max_value=10**9))
def test_amount_keeps_the_order_of_units(number: int) -> None:
    in_order = [
        amount(f"{number}{unit}") for unit in ("n", "u", "m", "", "k", "Ki", "M", "Mi", "G", "Gi", "T", "Ti")
    ]
    assert in_order == sorted(in_order)
    assert amount(f"{number}m") * 1000 == number


@pytest.mark.parametrize("given", [2, "2"])
def test_a_quantity_may_be_a_number(given: object) -> None:
    assert parse("ComputePool", spec("ComputePool", {"instance.cpu": given})).instance.cpu == "2"


@pytest.mark.parametrize("given", [True, 0.5, "", "-1", "4gb", "1e3"])
def test_what_is_no_quantity_is_refused(given: object) -> None:
    with pytest.raises(InvalidSpec, match=r"^spec\.instance\.cpu"):
        parse("ComputePool", spec("ComputePool", {"instance.cpu": given}))


@pytest.mark.parametrize("path", ["a", "a/b", ".a", "a..b/c.d", "a/.b"])
def test_paths_inside_a_volume(path: str) -> None:
    parse("TrainingJob", spec("TrainingJob", _mounted_at(path)))


@pytest.mark.parametrize("path", ["", "/a", "..", "../a", "a/../b", "a/..", "a//b", "a/", "..a"])
def test_paths_that_leave_a_volume_are_refused(path: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^spec\.volumeMounts\[0\]\.subPath"):
        parse("TrainingJob", spec("TrainingJob", _mounted_at(path)))


def _mounted_at(sub_path: str) -> dict[str, Any]:
    return {"volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": sub_path}]}


def test_yaml_names() -> None:
    assert [camel(name) for name in ("max_nodes", "model_url", "downward_api", "url", "urls")] == [
        "maxNodes",
        "modelURL",
        "downwardAPI",
        "url",
        "urls",
    ]
    assert "computePool" in {field.alias for field in TrainingJobSpec.model_fields.values()}


def test_kinds_are_named_as_in_their_crds() -> None:
    assert {name: (kind.crd_name, kind.scope, kind.short_names) for name, kind in KINDS.items()} == {
        "ComputePool": ("computepools.mlpools.dev", "Cluster", ("cp",)),
        "BatchInference": ("batchinferences.mlpools.dev", "Namespaced", ("bi",)),
        "NotebookRuntime": ("notebookruntimes.mlpools.dev", "Namespaced", ("nb",)),
        "TrainingJob": ("trainingjobs.mlpools.dev", "Namespaced", ("tj",)),
    }


@pytest.mark.parametrize("parquet", [{"url": "/data/a"}, {"urls": ["/data/a", "file:///data/b"]}])
def test_the_runtime_reads_a_source_as_it_is_handed_over(parquet: dict[str, Any]) -> None:
    source = parse("TrainingJob", spec("TrainingJob", {"data.train.parquet": parquet})).data["train"]
    assert source.parquet is not None
    assert from_spec("train", source.plain()) == ParquetSource(source.parquet.places)


def test_a_spec_is_read_once_and_another_one_of_the_same_words_anew() -> None:
    spec: dict[str, Any] = {"computePool": "cpu"}
    assert parse("NotebookRuntime", spec) is parse("NotebookRuntime", spec)
    other = {**spec, "port": 9000}
    assert parse("NotebookRuntime", other).port == 9000
    assert parse("NotebookRuntime", dict(spec)) == parse("NotebookRuntime", spec)
