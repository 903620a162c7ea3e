"""Models of every framework as one thing: columns in, predictions out.

``params`` of ``model``, by framework:

=========  ======================================================================================
sklearn    ``trusted``: types outside skops' own list; ``allowPickle``: load a pickle or joblib file
pytorch    ``arguments``: of the entrypoint that makes the module of a state dict; ``dtype``
python     ``batchFormat``: ``pandas`` (default), ``arrow``, ``numpy`` or ``polars``
others     none
=========  ======================================================================================
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from mlpools.data.sources import check_keys
from mlpools.errors import JobError, ModelUnreadable, one_line
from mlpools.inference.models.base import Model
from mlpools.inference.models.detect import detect, recognized
from mlpools.inference.settings import Framework, ModelSpec
from mlpools.lean import import_lean


@dataclasses.dataclass(frozen=True)
class Given:
    """What a loader has to go by.

    Attributes:
        spec: what the user said.
        path: of the model's file or folder; None if it is code alone.
        schema: of the input.
        features: that the user named; empty for the model's own.
        threads: CPUs of this worker.
    """

    spec: ModelSpec
    path: Path | None
    schema: pa.Schema
    features: Sequence[str]
    threads: int

    @property
    def file(self) -> Path:
        """The path of a model that needs one."""
        assert self.path is not None
        return self.path


def _framework(given: Given) -> Framework:
    """Return what made a model, as the user says or its content.

    Raises:
        ModelUnreadable: these are not the same, or nobody knows.
    """
    said = given.spec.framework
    if said == "auto":
        return detect(given.file)
    if said != "python" and (seen := recognized(given.file)) not in (None, said):
        raise ModelUnreadable(
            f"{given.file.name} is a model of {seen}, and model.framework says {said}: correct it, or leave "
            "it out."
        )
    return said


_PARAMS: Mapping[Framework, Sequence[str]] = {
    "sklearn": ("trusted", "allowPickle"),
    "pytorch": ("arguments", "dtype"),
    "python": ("batchFormat",),
}
#: What libraries import wherever it is, and nobody needs: no code of the user's runs with these models.
_UNUSED: Mapping[Framework, Sequence[str]] = {
    "xgboost": ("sklearn", "pandas"),
    "lightgbm": ("sklearn", "pandas"),
    "onnx": ("pandas",),
}


def load(given: Given) -> Model:
    """Load a model, and see that it fits the input.

    Raises:
        InvalidSpec: a parameter of the loader is unknown.
        ModelMismatch: the model's features and the input's columns do not fit together.
        ModelUnreadable: it is damaged, none of the framework that was named, or may not be loaded.
    """
    framework = _framework(given)
    check_keys("model.params", given.spec.params, _PARAMS.get(framework, ()))
    try:
        name = f"mlpools.inference.models.{framework}_model"
        unused = _UNUSED.get(framework)
        module = import_lean(name, unused) if unused else importlib.import_module(name)
        loader: Callable[[Given], Model] = module.load
        return loader(given)
    except ModuleNotFoundError as error:
        raise ModelUnreadable(
            f"This image cannot use a model of {framework}: it has no {error.name}. Name an image that has "
            "it in runtime.image, or add it to runtime.packages."
        ) from error
    except (JobError, MemoryError):
        raise
    except Exception as error:
        name = given.path.name if given.path else given.spec.entrypoint
        raise ModelUnreadable(
            f"{name} cannot be loaded as a model of {framework}: {type(error).__name__}: {one_line(error)}. "
            "Is it whole, and is model.framework right?"
        ) from error
