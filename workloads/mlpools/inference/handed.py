"""A caller's model on its way to the workers: by its URL, or an object in memory as the bytes of a file."""

from __future__ import annotations

import dataclasses
import inspect
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlpools.errors import InvalidSpec, UserCodeError
from mlpools.inference.settings import Framework, ModelSpec
from mlpools.train.sent import pack, unpack

_SENT = "mlpools.inference.handed:Sent"


@dataclasses.dataclass(frozen=True)
class Handed:
    """A model for workers in other processes.

    Attributes:
        spec: how they load it; without a URL it is in ``content``.
        content: bytes of its file; empty if it lies at a URL.
    """

    spec: ModelSpec
    content: bytes = b""


def handed(model: Any) -> Handed:
    """Make a caller's model ready for workers.

    Args:
        model: a URL or path, a ``ModelSpec``, a booster of XGBoost or LightGBM, an estimator with the methods
            of scikit-learn, a function of a batch, or a class or an object with ``predict``.

    Raises:
        InvalidSpec: it is none of these, or holds on to something that stays in this process.
    """
    if isinstance(model, str | Path):
        return Handed(ModelSpec(whole(str(model))))
    if isinstance(model, ModelSpec):
        return Handed(dataclasses.replace(model, url=whole(model.url)) if model.url else model)
    families = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if type(model).__name__ == "Booster" and "xgboost" in families:
        return _file("xgboost", bytes(model.save_raw("ubj")))
    if type(model).__name__ == "Booster" and "lightgbm" in families:
        return _file("lightgbm", model.model_to_string().encode())
    if "torch" in families:
        raise InvalidSpec(
            "A module of PyTorch in memory has no form that is safe to send: save it with torch.export or "
            "torch.jit, and give the file."
        )
    if hasattr(model, "get_params") and hasattr(model, "predict") and not inspect.isclass(model):
        return _file("sklearn", _pickled(model), allowPickle=True)
    if not callable(model) and not hasattr(model, "predict"):
        raise InvalidSpec(
            f"A {type(model).__name__} cannot predict: give a URL, a booster, an estimator, a function of a "
            "batch, or a class with predict."
        )
    spec = ModelSpec(framework="python", entrypoint=_SENT)
    return Handed(spec, pack("model", model))


def whole(url: str) -> str:
    """Return a URL, or a path as an absolute one: workers may have another working folder."""
    return url if "://" in url else str(Path(url).expanduser().absolute())


class Sent:
    """What a worker makes of a function, a class or an object that its caller sent."""

    def load(self, path: Path) -> None:
        """Unpack it; an object is made of a class, and its own ``load``, if any, is called."""
        found = unpack("model", path.read_bytes())
        if inspect.isclass(found):
            found = found()
            if hasattr(found, "load"):
                found.load()
        function = getattr(found, "predict", found)
        if not callable(function):
            raise UserCodeError("The model has no method predict(batch), which is called for the rows.")
        self._function: Callable[[Any], Any] = function

    def predict(self, batch: Any) -> Any:
        """Return what the function does."""
        return self._function(batch)


def _file(framework: Framework, content: bytes, **params: Any) -> Handed:
    return Handed(ModelSpec(framework=framework, params=params), content)


def _pickled(estimator: Any) -> bytes:
    import joblib

    buffer = io.BytesIO()
    try:
        joblib.dump(estimator, buffer)
    except Exception as error:  # whatever an object's own way to be pickled raises
        raise InvalidSpec(
            f"The {type(estimator).__name__} cannot be sent to other processes: {error}. Save it with skops "
            "and give the file."
        ) from error
    return buffer.getvalue()


def model_section(spec: ModelSpec) -> Mapping[str, Any]:
    """Return a model as a manifest has it."""
    section = dataclasses.asdict(spec)
    return {name: value for name, value in section.items() if value}
