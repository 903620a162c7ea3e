"""ONNX models, by onnxruntime: one input of shape [rows, features], or one input a column.

The features of the former have names if the model's metadata say them, under ``feature_names``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa

from mlpools.errors import ModelMismatch, ModelUnreadable
from mlpools.inference.models import Given
from mlpools.inference.models.base import (
    FEATURE_NAMES,
    MAIN,
    PROBABILITY,
    Predictions,
    as_array,
    check_features,
    chosen,
    matrix,
    written_names,
)
from mlpools.inference.models.detect import onnx_file

_CALLED = "ONNX model"
_TYPES: Mapping[str, type] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_TEXT = "tensor(string)"
#: What converters call the class that a classifier chooses, and its probabilities.
_LABELS = frozenset({"label", "output_label", "class", "classlabel"})
_PROBABILITIES = frozenset({"probabilities", "output_probability", "scores"})


class OnnxModel:
    """Runs a session."""

    names_columns = False

    def __init__(self, session: Any, columns: list[str], *, together: bool) -> None:
        self._session = session
        self._together = together
        self._outputs = [output.name for output in session.get_outputs()]
        self.columns = columns
        self.unknown = 0

    def predict(self, rows: pa.Table) -> Predictions:
        """Return each output of the model."""
        rows = rows.select(self.columns)
        answers = self._session.run(self._outputs, self._feed(rows))
        ends = _ends(self._outputs)
        return {end: as_array(_plain(answer)) for end, answer in zip(ends, answers, strict=True)}

    def _feed(self, rows: pa.Table) -> dict[str, Any]:
        inputs = self._session.get_inputs()
        if self._together:
            return {inputs[0].name: matrix(rows, _TYPES[inputs[0].type])}
        return {one.name: _column(rows.column(one.name), one) for one in inputs}


def load(given: Given) -> OnnxModel:
    """Load a model; its external data lies in the model's folder."""
    path = onnx_file(given.file) if given.file.is_dir() else given.file
    if path is None:
        raise ModelUnreadable(f"The folder {given.file.name} has not exactly one file *.onnx.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = given.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(Path(path)), options, providers=_providers(given.spec.device))
    inputs = session.get_inputs()
    for one in inputs:
        if one.type not in _TYPES and one.type != _TEXT:
            raise ModelMismatch(f"The input {one.name!r} of the {_CALLED} is {one.type}, which no column is.")
    width = inputs[0].shape[1] if len(inputs[0].shape) > 1 else 1
    together = len(inputs) == 1 and width != 1
    if together:
        own = written_names(_CALLED, session.get_modelmeta().custom_metadata_map.get(FEATURE_NAMES, ""))
        features = chosen(_CALLED, own, width if isinstance(width, int) else None, given.features)
        check_features(_CALLED, features, given.schema)
    else:
        features = chosen(_CALLED, [one.name for one in inputs], len(inputs), given.features)
        texts = [one.name for one in inputs if one.type == _TEXT]
        check_features(_CALLED, features, given.schema, texts=texts)
    return OnnxModel(session, features, together=together)


def _providers(device: str) -> list[str]:
    there = onnxruntime.get_available_providers()
    if device == "cuda" and "CUDAExecutionProvider" not in there:
        raise ModelUnreadable("model.device is cuda, but this image's onnxruntime is built without CUDA.")
    wanted = (
        ["CPUExecutionProvider"] if device == "cpu" else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    return [name for name in wanted if name in there]


def _column(column: pa.ChunkedArray, one: Any) -> Any:
    """Return a column in an input's type, as [rows] or [rows, 1]."""
    if one.type == _TEXT:
        values = np.array(["" if value is None else value for value in column.to_pylist()], dtype=object)
    else:
        values = matrix(pa.table([column], names=["it"]), _TYPES[one.type])[:, 0]
    return values if len(one.shape) == 1 else values.reshape(-1, 1)


def _ends(outputs: list[str]) -> list[str]:
    """Return what a column's name ends with for each output; the main one is the class or the first."""
    main = next((name for name in outputs if name.lower() in _LABELS), outputs[0])
    return [
        MAIN if name == main else PROBABILITY if name.lower() in _PROBABILITIES else f"_{name}"
        for name in outputs
    ]


def _plain(answer: Any) -> Any:
    """Return an output as an array; converters make a list of dictionaries of probabilities."""
    if isinstance(answer, list) and answer and isinstance(answer[0], Mapping):
        return np.array([list(one.values()) for one in answer])
    return np.asarray(answer)
