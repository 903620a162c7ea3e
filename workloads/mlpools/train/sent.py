"""Functions of a caller on their way into other processes, by value where those could not import them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlpools.errors import InvalidSpec, UserCodeError, one_line
from mlpools.train.trees.hooks import Hooks

#: Where a worker finds the hooks of its caller; not set in a job from a manifest.
HOOKS_ENV = "MLPOOLS_HOOKS"


def pack(what: str, given: Any) -> bytes:
    """Return functions, and what they hold on to, as bytes.

    Args:
        what: they are, for the message.
        given: a function, or an object that holds some.

    Raises:
        InvalidSpec: they hold on to something that stays in this process, such as a lock or a connection.
    """
    import cloudpickle

    try:
        packed: bytes = cloudpickle.dumps(given)
    except Exception as error:  # whatever an object's own way to be pickled raises
        raise InvalidSpec(
            f"The {what} cannot be sent to other processes: {one_line(error)}. Make what cannot "
            "travel inside the function, not outside of it."
        ) from error
    return packed


def unpack(what: str, packed: bytes) -> Any:
    """Return what was packed in another process.

    Raises:
        UserCodeError: a module that they need is not here.
    """
    try:
        return pickle.loads(packed)  # noqa: S301 - written by the program that started this one
    except Exception as error:
        raise UserCodeError(
            f"The {what} cannot be used here: {type(error).__name__}: {one_line(error)}. Every worker "
            "needs the modules that they were made with."
        ) from error


def received_hooks(environ: Mapping[str, str] = os.environ) -> Hooks:
    """Return the hooks that this worker was given, by default none.

    Raises:
        UserCodeError: a module that they need is not here.
    """
    path = environ.get(HOOKS_ENV)
    if not path:
        return Hooks()
    hooks: Hooks = unpack("callbacks, objective or metric", Path(path).read_bytes())
    return hooks
