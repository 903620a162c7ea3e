"""What callers give, checked before anything is read; what is off would be wrong rows, or an endless loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

from mlpools.errors import InvalidSpec


def check_batch_size(batch_size: object) -> None:
    """See that it is a number of rows.

    Raises:
        InvalidSpec: it is not.
    """
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise InvalidSpec(f"batch_size has to be a whole number above 0, not {batch_size!r}.")


def check_limit(limit: object) -> None:
    """See that it is a number of rows, or None for all.

    Raises:
        InvalidSpec: it is not.
    """
    if limit is not None and (not isinstance(limit, Integral) or limit < 0):
        raise InvalidSpec(f"limit has to be a whole number of rows, not {limit!r}.")


@contextmanager
def library(package: str, what: str) -> Iterator[None]:
    """Say of a library that is imported here, and is not there, what wants it.

    Args:
        package: that it is, by the name that pip and Python call it.
        what: method of a connector.

    Raises:
        InvalidSpec: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise InvalidSpec(
            f"{what} needs the package {package}, which is not installed here: pip install {package}, or "
            "use an image that has it."
        ) from error
