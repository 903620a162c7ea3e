"""Ways from files to a connector, one for each format."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Self

from mlpools.data.sources import (
    ArrowSource,
    CsvSource,
    DataSource,
    FileSource,
    JsonSource,
    OrcSource,
    ParquetSource,
    texts,
)


class FromFiles(abc.ABC):
    """Constructors for files.

    Each takes files, folders (every file below with the format's suffix) or globs (``**`` crosses
    folders), as paths or URLs, and:

    - ``options`` of the format, named as in a job's spec;
    - ``columns`` to read, in this order; all by default;
    - ``filter``, the condition of an SQL WHERE that rows pass: see ``filters``;
    - ``limit``, only so many first rows;
    - whatever else ``from_sources`` takes.
    """

    @classmethod
    @abc.abstractmethod
    def from_sources(cls, sources: DataSource | str | Sequence[DataSource | str], **kwargs: Any) -> Self:
        """Connect to sources."""

    @classmethod
    def from_parquet(cls, url: str | Sequence[str], **kwargs: Any) -> Self:
        """Connect to Parquet files; options: see ``formats.parquet.Parquet``."""
        return cls._from_files(ParquetSource, url, **kwargs)

    @classmethod
    def from_csv(cls, url: str | Sequence[str], **kwargs: Any) -> Self:
        """Connect to CSV files; options: see ``formats.delimited.Csv``."""
        return cls._from_files(CsvSource, url, **kwargs)

    @classmethod
    def from_json(cls, url: str | Sequence[str], **kwargs: Any) -> Self:
        """Connect to files of one JSON object a line; options: see ``formats.jsonlines.Json``."""
        return cls._from_files(JsonSource, url, **kwargs)

    @classmethod
    def from_arrow(cls, url: str | Sequence[str], **kwargs: Any) -> Self:
        """Connect to Arrow IPC or Feather files, or Arrow streams; there are no options."""
        return cls._from_files(ArrowSource, url, **kwargs)

    @classmethod
    def from_orc(cls, url: str | Sequence[str], **kwargs: Any) -> Self:
        """Connect to ORC files; there are no options."""
        return cls._from_files(OrcSource, url, **kwargs)

    @classmethod
    def _from_files(
        cls,
        source: type[FileSource],
        url: str | Sequence[str],
        *,
        options: Mapping[str, Any] | None = None,
        columns: Sequence[str] = (),
        filter: str = "",  # noqa: A002 - its name in a job's spec
        limit: int | None = None,
        **kwargs: Any,
    ) -> Self:
        wanted = source(texts(url), options or {}, columns=texts(columns), filter=filter, limit=limit)
        return cls.from_sources(wanted, **kwargs)
