"""Ways from files to a connector, one for each format."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Self

from mlpools.data import raw_sources
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
    folders), as paths or URLs. Those of formats with columns take too:

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
    def from_binary_files(cls, url: str | Sequence[str], **choice: Any) -> Self:
        """Connect to files that are one row each: their bytes, in column ``bytes``.

        Args:
            url: files, folders or globs; paths or URLs.
            **choice: ``file_pattern``, ``include_paths``, ``columns``, ``filter`` (of ``path``), ``limit``;
                see ``raw_sources.RawSource``.
        """
        return cls.from_sources(raw_sources.binary(url, **choice))

    @classmethod
    def from_text_files(
        cls, url: str | Sequence[str], *, whole_files: bool = False, encoding: str = "utf-8", **choice: Any
    ) -> Self:
        """Connect to text files: one row a line, or a file, in column ``text``.

        Args:
            url: files, folders (every ``*.txt`` below) or globs.
            whole_files: each file is one row; otherwise each line is, without its end, also an empty one.
            encoding: of whole files; lines are UTF-8.
            **choice: as of binary files.
        """
        return cls.from_sources(raw_sources.text(url, whole_files, encoding, **choice))

    @classmethod
    def from_images(
        cls,
        url: str | Sequence[str],
        *,
        image_size: tuple[int, int] | None = None,
        image_mode: str = "RGB",
        **choice: Any,
    ) -> Self:
        """Connect to pictures that are one row each: uint8 tensors [height, width, channels] in ``image``.

        Args:
            url: files, folders (every picture below) or globs.
            image_size: (height, width) to which all are scaled; without it all must have the first one's.
            image_mode: ``RGB``, ``RGBA`` or ``L`` (grey), to which all are converted.
            **choice: as of binary files.
        """
        return cls.from_sources(raw_sources.images(url, image_size, image_mode, **choice))

    @classmethod
    def from_shards(
        cls,
        url: str,
        content: str = "binary",
        *,
        options: Mapping[str, Any] | None = None,
        **choice: Any,
    ) -> Self:
        """Connect to files that ``generate_shards`` has packed; a row is a file.

        Args:
            url: the folder of the shards.
            content: what becomes of a file's bytes: ``binary``, ``document`` (text) or ``image``.
            options: of the content: see ``formats.whole``, such as ``{"size": (224, 224)}`` of pictures.
            **choice: ``include_paths``, ``columns``, ``filter`` (of ``path``), ``limit``.
        """
        from mlpools.data.shard_source import ShardSource

        return cls.from_sources(ShardSource(url, content, options or {}, **choice))

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
