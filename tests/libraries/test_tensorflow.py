"""``tf.data`` of a connector: its signature, its epochs and its failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from mlpools.data import DataConnector
from mlpools.errors import DataNotReadable, InvalidSpec
from tests.support.tensor_forms import ARRAYS

TABLE = pa.table(
    {
        "x": pa.array(range(100), pa.int32()),
        "f": pa.array(np.arange(100), pa.float32()),
        "t": [f"v{i}" for i in range(100)],
        "pair": pa.array([[i, -i] for i in range(100)], pa.list_(pa.float64(), 2)),
        "list": [[i] * 3 for i in range(100)],
    }
)


@pytest.fixture
def connector(tmp_path: Path) -> DataConnector:
    for i in range(4):
        pq.write_table(TABLE.slice(25 * i, 25), tmp_path / f"{i}.parquet", row_group_size=10)
    return DataConnector.from_parquet(str(tmp_path))


def test_the_signature_comes_from_the_schema(connector: DataConnector) -> None:
    signature = connector.to_tf_dataset(batch_size=30).element_spec
    assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in signature.items()} == {
        "x": ([None], tf.int32),
        "f": ([None], tf.float32),
        "t": ([None], tf.string),
        "pair": ([None, 2], tf.float64),
        "list": ([None, None], tf.int64),
    }


def test_batches_hold_the_rows(connector: DataConnector) -> None:
    batches = list(connector.to_tf_dataset(batch_size=30, drop_last_batch=False).as_numpy_iterator())
    assert [len(batch["x"]) for batch in batches] == [30, 30, 30, 10]
    assert batches[1]["t"][0] == b"v30"
    assert batches[1]["pair"][1].tolist() == [31, -31]
    assert batches[3]["list"].tolist() == [[i] * 3 for i in range(90, 100)]
    assert sum(1 for _ in connector.to_tf_dataset(batch_size=30)) == 3


def test_columns_can_be_stacked_and_expanded(connector: DataConnector) -> None:
    dataset = connector.to_tf_dataset(
        batch_size=10, columns=["x", "f"], stack={"both": ["f", "x"]}, expand_dims=True
    )
    batch = next(iter(dataset))
    assert batch["both"].shape == (10, 2)
    assert batch["both"].dtype == tf.float64
    assert (
        connector.to_tf_dataset(batch_size=10, columns=["x"], expand_dims=True).element_spec["x"].shape[1]
        == 1
    )


def test_each_iteration_is_another_epoch(connector: DataConnector) -> None:
    dataset = connector.to_tf_dataset(batch_size=10, shuffle=True)
    first, second = ([int(x) for batch in dataset for x in batch["x"]] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    with pytest.raises(InvalidSpec, match="TensorFlow and Hugging Face read ahead"):
        connector.state_dict()


def test_a_type_without_tensor_is_refused_before_reading() -> None:
    words = DataConnector.from_dataframe(pa.table({"w": [["a"], ["b", "c"]]}))
    with pytest.raises(DataNotReadable, match=r"'w' is list<.*TensorFlow has no tensor for"):
        words.to_tf_dataset(batch_size=1)


def test_a_missing_text_names_its_column_and_remedy() -> None:
    texts = DataConnector.from_dataframe(pa.table({"t": ["a", None]}))
    with pytest.raises(tf.errors.OpError, match=r"Column 't', row 1 .* fill=\{'t': …\}"):
        list(texts.to_tf_dataset(batch_size=2))
    filled = next(iter(texts.to_tf_dataset(batch_size=2, fill={"t": "?"})))
    assert filled["t"].numpy().tolist() == [b"a", b"?"]


@pytest.mark.parametrize("name", ARRAYS)
def test_tensorflow_takes_every_form(name: str) -> None:
    array = ARRAYS[name]
    tensor = tf.constant(array)
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert tensor.numpy().dtype == array.dtype
