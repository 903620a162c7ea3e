"""``module:attribute`` of the user's own code."""

from __future__ import annotations

import importlib
import traceback
from typing import Any

from mlpools.errors import CodeNotReadable, UserCodeError, at_hand, one_line


def imported(entrypoint: str) -> Any:
    """Return what an entrypoint names.

    Raises:
        CodeNotReadable: there is no such module, or it has no such attribute.
        UserCodeError: the module fails while it is imported.
    """
    name, _, attribute = entrypoint.partition(":")
    try:
        found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(entrypoint, error) from error
        raise CodeNotReadable(
            f"The module {name!r} of model.entrypoint is neither in the job's code nor in the image."
        ) from error
    except Exception as error:
        raise _failed(entrypoint, error) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [key for key in dir(found) if not key.startswith("_")]
            raise CodeNotReadable(f"The module {name!r} has no {part!r}. {at_hand(part, names, 'Names')}")
        found = getattr(found, part)
    return found


def _failed(entrypoint: str, error: Exception) -> UserCodeError:
    failure = UserCodeError(
        f"The module of model.entrypoint {entrypoint} fails when it is imported: "
        f"{type(error).__name__}: {one_line(error)}."
    )
    failure.add_note("".join(traceback.format_exception(error)))
    return failure
