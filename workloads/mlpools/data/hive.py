"""Folders named ``key=value`` become columns: those that a URL does not spell out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

import pyarrow as pa

from mlpools.errors import DataNotReadable
from mlpools.storage import locate

_WILD = frozenset("*?[")
_NULL = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"-?\d{1,18}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def values(url: str, file: str) -> dict[str, str | None]:
    """Return the keys and values in the folders between what a URL says and a file that it matched.

    Args:
        url: a file, a folder or a glob.
        file: its URL, as it was listed.
    """
    said = itertools.takewhile(lambda part: not _WILD & set(part), url.split("/"))
    base = locate("/".join(said) or "/").url.rstrip("/")
    folders = file.removeprefix(f"{base}/").split("/")[:-1] if file.startswith(f"{base}/") else []
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder)
    return {unquote(key): None if value == _NULL else unquote(value) for key, value in pairs if key}


def types(files: Sequence[tuple[str, Mapping[str, str | None]]]) -> pa.Schema:
    """Return the columns of the folders: integers, dates, or else text.

    Raises:
        DataNotReadable: a file lacks a folder that another one has.
    """
    if not files:
        return pa.schema([])
    first_url, first = files[0]
    for url, found in files[1:]:
        for key in found.keys() ^ first.keys():
            having, lacking = (url, first_url) if key in found else (first_url, url)
            raise DataNotReadable(
                f"{lacking} lies in no folder {key}=…, but {having} does. Lay out all files alike."
            )
    return pa.schema([(key, _type([found[key] for _, found in files])) for key in first])


def _type(texts: Sequence[str | None]) -> pa.DataType:
    known = [text for text in texts if text is not None]
    if known and all(_INTEGER.fullmatch(text) for text in known):
        return pa.int64()
    if known and all(_DATE.fullmatch(text) for text in known):
        return pa.date32()
    return pa.string()
