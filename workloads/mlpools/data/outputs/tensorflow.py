"""A connector's batches as a ``tf.data.Dataset``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import tensorflow as tf

from mlpools.data.forms import is_list, plain_type
from mlpools.data.tensors import TensorLayout, Tensors
from mlpools.errors import DataNotReadable


def to_tf_dataset(
    batches: Callable[[], Iterable[pa.RecordBatch]], schema: pa.Schema, layout: TensorLayout
) -> Any:
    """Return a data set of dictionaries of tensors.

    Its signature comes from the schema; nothing is read before it is iterated, and each iteration reads anew.

    Args:
        batches: begins to read.
        schema: of the batches.
        layout: of the tensors.

    Raises:
        DataNotReadable: a column holds lists of text, which have no tensor form.
    """
    for field in schema:
        form = layout.forms.get(field.name)
        if form is not None and form.dtype is None and is_list(plain_type(field.type)):
            raise DataNotReadable(
                f"Column {field.name!r} is {field.type}, which TensorFlow has no tensor for: join the "
                "texts to one, or leave the column out with columns=[…]."
            )
    signature = {
        name: tf.TensorSpec((None, *form.shape), tf.string if form.dtype is None else form.dtype)
        for name, form in layout.forms.items()
    }

    def rows() -> Iterator[Tensors]:
        for batch in batches():
            yield _without_missing_texts(layout.convert(batch))

    return tf.data.Dataset.from_generator(rows, output_signature=signature)


def _without_missing_texts(tensors: Tensors) -> Tensors:
    for name, values in tensors.items():
        if isinstance(values, list) and None in values:
            raise DataNotReadable(
                f"Column {name!r}, row {values.index(None):,} of the batch, is empty, which TensorFlow has "
                f"no text for. Give one with fill={{{name!r}: …}}, or leave such rows out with a filter."
            )
    return tensors
