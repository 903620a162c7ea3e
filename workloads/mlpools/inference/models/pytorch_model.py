"""Modules of PyTorch: TorchScript, exported programs, and state dicts with code that makes their module.

A module does not know what its features are called. Its file may say it under ``feature_names``, a list in
JSON: an extra file of TorchScript and of exported programs, a list beside ``state_dict`` of weights. That it
takes as many features as there are shows when it is called, which is tried with made-up rows at first.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from mlpools.errors import ModelMismatch, ModelUnreadable
from mlpools.inference.entrypoint import imported
from mlpools.inference.models import Given
from mlpools.inference.models.base import (
    FEATURE_NAMES,
    MAIN,
    Predictions,
    as_array,
    check_features,
    chosen,
    matrix,
    written_names,
)

_CALLED = "PyTorch model"
#: What numpy lacks, or is slow with, is made by PyTorch.
_NUMPY = {"float16": "float32", "bfloat16": "float32"}
_DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32")
#: Of a call that is tried; with one row, some code would not see which dimension is which.
_TRIED_ROWS = 2


class PyTorchModel:
    """Calls a module with a tensor of shape [rows, features]."""

    names_columns = False

    def __init__(self, module: Any, columns: list[str], device: str, dtype: str) -> None:
        self._module = module
        self._device = device
        self._dtype = getattr(torch, dtype)
        self._numpy = _NUMPY.get(dtype, dtype)
        self.columns = columns
        self.unknown = 0

    def predict(self, rows: pa.Table) -> Predictions:
        """Return the module's answer, or each of several."""
        given = torch.from_numpy(matrix(rows.select(self.columns), self._numpy))
        answer = self._call(given)
        if isinstance(answer, dict):
            first = next(iter(answer))
            return {MAIN if name == first else f"_{name}": _array(value) for name, value in answer.items()}
        if isinstance(answer, tuple | list):
            return {MAIN if i == 0 else f"_{i}": _array(value) for i, value in enumerate(answer)}
        return {MAIN: _array(answer)}

    def check_shape(self, rows: int) -> None:
        """Call the module with so many made-up rows.

        Raises:
            ModelMismatch: it does not take rows of this many features.
        """
        try:
            self._call(torch.zeros(rows, len(self.columns)))
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise ModelMismatch(
                f"The {_CALLED} does not take rows of {len(self.columns)} features as {self._dtype}: {said}. "
                "List in features what it has learned from, in that order."
            ) from error

    def _call(self, given: torch.Tensor) -> Any:
        with torch.inference_mode():
            return self._module(given.to(self._device, self._dtype))


@dataclasses.dataclass(frozen=True)
class _Saved:
    """What a file holds.

    Attributes:
        module: that is called.
        names: of its features, if the file says them, in JSON.
        width: the number of features, if the file says it.
        rows: of each call, if the file says it: a program may be exported for one number alone.
    """

    module: Any
    names: str | bytes = ""
    width: int | None = None
    rows: int | None = None


def load(given: Given) -> PyTorchModel:
    """Load a module.

    Raises:
        ModelMismatch: it does not take what the input has.
        ModelUnreadable: it is a state dict without an entrypoint, or has pickled code.
    """
    torch.set_num_threads(given.threads)
    device = _device(given.spec.device)
    dtype = str(given.spec.params.get("dtype") or "float32")
    if dtype not in _DTYPES:
        raise ModelMismatch(f"model.params.dtype is {dtype!r}; it has to be one of {', '.join(_DTYPES)}.")
    saved = _saved(given)
    features = chosen(_CALLED, written_names(_CALLED, saved.names), saved.width, given.features)
    check_features(_CALLED, features, given.schema)
    model = PyTorchModel(saved.module.to(device), features, device, dtype)
    model.check_shape(saved.rows or _TRIED_ROWS)
    return model


def _saved(given: Given) -> _Saved:
    path = given.file
    kind = _kind(path)
    said: dict[str, Any] = {FEATURE_NAMES: ""}
    if kind == "exported":
        program = torch.export.load(path, extra_files=said)
        rows, width = _shape(program)
        return _Saved(program.module(), said[FEATURE_NAMES], width, rows)
    if kind == "script":
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=said).eval()
        return _Saved(module, said[FEATURE_NAMES])
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not given.spec.entrypoint:
        raise ModelUnreadable(
            f"{path.name} holds weights alone: name the class or function that makes their module in "
            "model.entrypoint, such as model:Net, or save it with torch.jit or torch.export."
        )
    module = imported(given.spec.entrypoint)(**given.spec.params.get("arguments", {}))
    module.load_state_dict(state.get("state_dict", state))
    names = json.dumps(state.get(FEATURE_NAMES, [])) if "state_dict" in state else ""
    return _Saved(module.eval(), names)


def _shape(program: Any) -> tuple[int | None, int | None]:
    """Return the rows and features that an exported program takes; None for any number."""
    inputs = set(program.graph_signature.user_inputs)
    shape = next((node.meta["val"].shape for node in program.graph.nodes if node.name in inputs), ())
    if len(shape) != 2:
        return None, None
    rows, width = (size if isinstance(size, int) else None for size in shape)
    return rows, width


def _kind(path: Path) -> str:
    """Tell PyTorch's archives apart without loading them."""
    if not zipfile.is_zipfile(path):
        return "weights"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return "exported"
    return "script" if any("/code/" in name for name in names) else "weights"


def _device(asked: str) -> str:
    if asked == "cuda" and not torch.cuda.is_available():
        raise ModelUnreadable(
            "model.device is cuda, but there is no GPU here, or torch is built without CUDA."
        )
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def _array(value: Any) -> pa.Array:
    tensor = value.detach().cpu()
    return as_array((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
