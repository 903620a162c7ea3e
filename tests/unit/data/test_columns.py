"""The data contract: every rank sees the same columns in the same form, or says why it cannot."""

from __future__ import annotations

import decimal

import numpy as np
import pyarrow as pa
import pytest

from mlpools.data.choosing import choose
from mlpools.data.columns import MAX_CATEGORIES, Columns
from mlpools.errors import DataNotReadable, InvalidSpec

TRAIN = pa.schema(
    {
        "distance": pa.float32(),
        "hour": pa.int8(),
        "carrier": pa.string(),
        "weekend": pa.bool_(),
        "when": pa.timestamp("us"),
        "arr_delay": pa.float64(),
        "w": pa.float32(),
    }
)


def pick(schema: pa.Schema = TRAIN, **kwargs: object) -> Columns:
    arguments = {"label": "arr_delay", "excluded": ["when"], **kwargs}
    return choose({"train": schema}, **arguments)  # type: ignore[arg-type]


def test_by_default_every_other_column_is_a_feature() -> None:
    columns = pick(weight="w")
    assert columns.features == ("distance", "hour", "carrier", "weekend")
    assert columns.kinds == ("float", "int", "c", "i")
    assert columns.all == ["distance", "hour", "carrier", "weekend", "arr_delay", "w"]
    assert columns.categorical == ["carrier"]


def test_listed_features_keep_their_order() -> None:
    assert pick(features=["hour", "distance"], excluded=[]).features == ("hour", "distance")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"label": "arr_dely"},
            DataNotReadable,
            "label 'arr_dely' is not in the data 'train'. Did you mean 'arr_delay'?",
        ),
        ({"label": "arr_dely"}, DataNotReadable, "Columns at hand: distance, hour, carrier"),
        ({"weight": "weights"}, DataNotReadable, "weight 'weights'"),
        ({"features": ["hours"]}, DataNotReadable, "Did you mean 'hour'"),
        ({"excluded": ["whem"]}, DataNotReadable, "Did you mean 'when'"),
        (
            {"excluded": []},
            DataNotReadable,
            r"Column 'when' is timestamp\[us\].*put it under excluded \(from Python: .* input_cols",
        ),
        ({"features": ["when"]}, DataNotReadable, "take it from features"),
        ({"features": ["hour", "arr_delay"]}, InvalidSpec, "label 'arr_delay' is also listed"),
        ({"features": ["hour", "hour"]}, InvalidSpec, "'hour' is listed twice"),
        ({"label": "carrier"}, DataNotReadable, "Column 'carrier' is string"),
        (
            {"excluded": [name for name in TRAIN.names if name != "arr_delay"]},
            InvalidSpec,
            "No column is left",
        ),
    ],
)
def test_what_does_not_fit_is_named(arguments: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        pick(**arguments)


def test_other_sets_must_have_the_same_columns() -> None:
    good = pa.schema({"x": pa.float32(), "c": pa.string(), "y": pa.float32()})
    with pytest.raises(DataNotReadable, match="column 'c' is not in the data 'eval'"):
        choose({"train": good, "eval": good.remove(1)}, label="y")
    with pytest.raises(DataNotReadable, match=r"'c' is string in train, but int64 in eval\. Write both"):
        choose({"train": good, "eval": good.set(1, pa.field("c", pa.int64()))}, label="y")
    wider = good.set(0, pa.field("x", pa.float64())).append(pa.field("more", pa.date32()))
    assert choose({"train": good, "eval": wider}, label="y").features == ("x", "c")


def values(column: pa.ChunkedArray) -> list[object]:
    return column.to_pylist()


def test_every_type_has_its_form() -> None:
    table = pa.table(
        {
            "small": pa.array([1, None, 3], pa.int16()),
            "half": pa.array(np.array([1.5, 2.5, np.nan], np.float16)),
            "yes": pa.array([True, None, False]),
            "money": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("2.50")]),
            "nothing": pa.nulls(3),
            "coded": pa.array([10, 20, 10]).dictionary_encode(),
            "text": pa.array(["b", None, "a"]),
            "large": pa.array(["b", "b", None], pa.large_string()),
            "dict": pa.array(["b", None, "a"]).dictionary_encode(),
            "y": pa.array([1, 2, 3]),
        }
    )
    columns = choose({"train": table.schema}, label="y").with_categories(
        [{"text": ["b"], "large": ["b"], "dict": ["b"]}, {"text": ["a"], "dict": ["a"], "large": []}]
    )
    assert columns.kinds == ("int", "float", "i", "float", "float", "int", "c", "c", "c")
    batch = columns.convert(table, "here")
    features = batch.features
    assert values(features["small"]) == [1, None, 3]
    assert features["half"].type == pa.float32()
    assert values(features["yes"]) == [1, None, 0]
    assert values(features["money"]) == [1.25, None, 2.5]
    assert values(features["nothing"]) == [None] * 3
    assert values(features["coded"]) == [10, 20, 10]
    assert values(features["text"]) == values(features["dict"]) == ["b", None, "a"]
    assert values(features["large"]) == ["b", "b", None]
    assert batch.label.tolist() == [1.0, 2.0, 3.0]
    assert batch.unknown == 0


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("s"),
        pa.date32(),
        pa.list_(pa.int64()),
        pa.struct({"a": pa.int8()}),
        pa.binary(),
        pa.duration("s"),
    ],
)
def test_types_that_cannot_be_learned_from_are_named(kind: pa.DataType) -> None:
    with pytest.raises(DataNotReadable, match="Column 'odd' is "):
        choose({"train": pa.schema({"odd": kind, "y": pa.int64()})}, label="y")


def test_codes_are_the_same_whatever_a_rank_has_seen() -> None:
    """The trap: two ranks whose rows share no category would otherwise use the same codes for both."""
    schema = pa.schema({"c": pa.string(), "y": pa.int64()})
    first, second = pa.table({"c": ["AA", "B6"], "y": [0, 1]}), pa.table({"c": ["UA", "DL"], "y": [0, 1]})
    contract = choose({"train": schema}, label="y")
    columns = contract.with_categories([contract.distinct(first), contract.distinct(second)])
    assert columns.categories == {"c": ("AA", "B6", "DL", "UA")}
    codes = [columns.convert(part, "").features["c"].combine_chunks() for part in (first, second)]
    assert [code.indices.to_pylist() for code in codes] == [[0, 1], [3, 2]]
    assert codes[0].dictionary == codes[1].dictionary
    assert Columns.from_json(columns.to_json()) == columns


def test_unknown_categories_are_missing_and_counted() -> None:
    table = pa.table({"c": ["a", "z", None, "z"], "y": [1, 2, 3, 4]})
    columns = choose({"train": table.schema}, label="y").with_categories([{"c": ["a"]}])
    batch = columns.convert(table, "")
    assert values(batch.features["c"]) == ["a", None, None, None]
    assert batch.unknown == 2


def test_a_sliced_table_is_converted_from_its_own_rows() -> None:
    table = pa.table({"c": ["a", "b", "c"], "b": [True, False, True], "y": [1, 2, 3]})
    columns = choose({"train": table.schema}, label="y").with_categories([{"c": ["a", "b", "c"]}])
    batch = columns.convert(table.slice(2), "")
    assert values(batch.features["c"]) == ["c"]
    assert values(batch.features["b"]) == [1]
    assert batch.label.tolist() == [3.0]


def test_an_identifier_is_no_category() -> None:
    contract = choose({"train": pa.schema({"id": pa.string(), "y": pa.int64()})}, label="y")
    with pytest.raises(DataNotReadable, match="'id' has 10,001 different texts"):
        contract.with_categories([{"id": [str(i) for i in range(MAX_CATEGORIES + 1)]}])


def test_a_category_column_without_values_is_all_missing() -> None:
    table = pa.table({"c": pa.array([None, None], pa.string()), "y": [1, 2]})
    columns = choose({"train": table.schema}, label="y").with_categories([{"c": []}])
    assert values(columns.convert(table, "").features["c"]) == [None, None]


@pytest.mark.parametrize("bad", [[1.0, None, 2.0], [1.0, float("nan"), float("nan")]])
def test_empty_labels_are_counted_and_named(bad: list[float | None]) -> None:
    table = pa.table({"x": [1, 2, 3], "y": bad})
    with pytest.raises(
        DataNotReadable, match=r"The data 'train': the label column 'y' has (1|2) empty values"
    ):
        choose({"train": table.schema}, label="y").convert(table, "The data 'train'")


def test_weights_are_not_negative() -> None:
    table = pa.table({"x": [1, 2], "y": [1, 2], "w": [1.0, -1.0]})
    columns = choose({"train": table.schema}, label="y", weight="w")
    assert columns.features == ("x",)
    with pytest.raises(DataNotReadable, match="'w' has negative values"):
        columns.convert(table, "here")


def test_the_filler_row_weighs_nothing() -> None:
    columns = choose({"train": TRAIN}, label="arr_delay", excluded=["when"]).with_categories(
        [{"carrier": ["AA"]}]
    )
    filler = columns.filler()
    assert filler.features.num_rows == 1
    assert filler.weight is not None
    assert filler.weight.tolist() == [0.0]
    assert all(value is None for value in filler.features.to_pylist()[0].values())
