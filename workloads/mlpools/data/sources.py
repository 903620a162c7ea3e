"""What data is made of, before anything of it was read."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import pyarrow as pa

from mlpools.data import formats, hive
from mlpools.data.described import without_credentials
from mlpools.data.files import plan_files
from mlpools.data.plan import Plan, Plannable, Selection
from mlpools.data.progress import listing
from mlpools.errors import InvalidSpec, at_hand
from mlpools.storage import FileInfo, match


@dataclasses.dataclass(frozen=True)
class FileSource(Selection):
    """Files of one format.

    Attributes:
        urls: files, folders (every file below with the format's suffix) or globs (``**`` crosses folders).
        options: of the format, named as in a job's spec.
    """

    urls: tuple[str, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    format: ClassVar[str]

    @classmethod
    def from_spec(cls, name: str, raw: Mapping[str, Any], selection: Mapping[str, Any]) -> Self:
        """Read a section such as ``parquet: {url: /data}``.

        Args:
            name: of the section, for messages: ``data.train.parquet``.
            raw: the section.
            selection: columns, filter and limit, as keyword arguments.
        """
        check_keys(name, raw, ("url", "urls", "options"))
        given = raw.get("url") or raw.get("urls")
        if not given:
            raise InvalidSpec(f"{name} needs url or urls.")
        return cls(texts(given), raw.get("options") or {}, **selection)

    def __str__(self) -> str:
        return ", ".join(without_credentials(url) for url in self.urls)

    def plan(self) -> Plan:
        """List and inspect the files."""
        suffixes = formats.make(self.format, self.options).suffixes
        found: dict[FileInfo, dict[str, str | None]] = {}
        for url in self.urls:
            for info in match(url, suffixes, watch=listing):
                # Of two URLs that match a file, the one that spells out less tells more folders.
                found[info] = max(found.get(info, {}), hive.values(url, info.url), key=len)
        files = sorted(found)
        return plan_files(
            files,
            self.format,
            options=self.options,
            constants=[found[info] for info in files],
            types=hive.types([(info.url, found[info]) for info in files]),
            selection=self,
        )


class ParquetSource(FileSource):
    """Parquet files; options as in ``formats.parquet.Parquet``."""

    format = "parquet"


class CsvSource(FileSource):
    """CSV files; options as in ``formats.delimited.Csv``."""

    format = "csv"


class JsonSource(FileSource):
    """Files of one JSON object a line; options as in ``formats.jsonlines.Json``."""

    format = "json"


class ArrowSource(FileSource):
    """Arrow IPC or Feather files, or Arrow streams."""

    format = "arrow"


class OrcSource(FileSource):
    """ORC files."""

    format = "orc"


@dataclasses.dataclass(frozen=True)
class MemorySource:
    """A table in memory."""

    table: pa.Table = dataclasses.field(repr=False)

    def __str__(self) -> str:
        return "a table in memory"


DataSource = Plannable | MemorySource

#: Kind of a source in a job's spec -> module and class, which has ``from_spec`` as ``FileSource`` has.
#: Imported only when it is asked for.
KINDS: Mapping[str, str] = {
    "parquet": "mlpools.data.sources:ParquetSource",
    "csv": "mlpools.data.sources:CsvSource",
    "json": "mlpools.data.sources:JsonSource",
    "arrow": "mlpools.data.sources:ArrowSource",
    "orc": "mlpools.data.sources:OrcSource",
    "dataset": "mlpools.data.dataset.source:DatasetSource",
    "sql": "mlpools.data.sql.source:SqlSource",
    "delta": "mlpools.data.lakes.delta:DeltaSource",
    "iceberg": "mlpools.data.lakes.iceberg:IcebergSource",
}
#: What a launcher hands over and no manifest has: a plan that was resolved already.
_HANDED: Mapping[str, str] = {"plan": "mlpools.data.planned:PlannedSource"}
#: What a spec says beside its kind.
_SELECTION = ("columns", "filter", "limit")


def from_spec(name: str, raw: Mapping[str, Any]) -> Plannable:
    """Read one source of a job's ``spec.data``.

    Raises:
        InvalidSpec: it is of no known kind or of several, or a field is missing or unknown.
    """
    where = f"data.{name}"
    known = {**KINDS, **_HANDED}
    check_keys(where, raw, (*known, *_SELECTION))
    kinds = [key for key in raw if key in known]
    if len(kinds) != 1:
        raise InvalidSpec(f"{where} needs exactly one of {', '.join(KINDS)}, but has {len(kinds)} of them.")
    [kind] = kinds
    section = raw[kind]
    if not isinstance(section, Mapping):
        raise InvalidSpec(f"{where}.{kind} must have fields, such as url.")
    module, _, attribute = known[kind].partition(":")
    cls = getattr(importlib.import_module(module), attribute)
    selection = {
        "columns": texts(raw.get("columns") or ()),
        "filter": raw.get("filter") or "",
        "limit": raw.get("limit"),
    }
    source: Plannable = cls.from_spec(f"{where}.{kind}", section, selection)
    return source


def as_sources(given: DataSource | str | Sequence[DataSource | str]) -> list[DataSource]:
    """Return sources for what a caller may write: a path is a Parquet source."""
    items = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    return [ParquetSource((item,)) if isinstance(item, str) else item for item in items]


def check_keys(
    where: str, raw: Mapping[str, Any], known: Sequence[str], *, needed: Sequence[str] = ()
) -> None:
    """Refuse a field that does not exist, and the absence of one that is needed.

    Raises:
        InvalidSpec: with the name that was probably meant, or that is absent.
    """
    for key in raw:
        if key not in known:
            raise InvalidSpec(f"{where} has no field {key!r}. {at_hand(key, known, 'Fields')}")
    for key in needed:
        if not raw.get(key):
            raise InvalidSpec(f"{where} needs {key}.")


def texts(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return one text, or several, as a tuple."""
    return (given,) if isinstance(given, str) else tuple(given)
