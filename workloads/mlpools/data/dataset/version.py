"""What is known of one version of a data set: all of it stands in the version's manifest."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mlpools.data.dataset.statistics import ColumnStatistics
from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest, Part
from mlpools.errors import DataNotReadable
from mlpools.storage import Location


@dataclasses.dataclass(frozen=True)
class DatasetVersion:
    """One version.

    Attributes:
        dataset: name of the data set.
        name: of the version.
        created_on: when it was complete to be committed, UTC.
        comment: a person's words.
        label_cols: columns to be predicted.
        exclude_cols: columns that are no features, such as ids; kept, and left out of training.
        properties: whatever its maker noted, in JSON's types.
        statistics: of each column.
    """

    dataset: str
    name: str
    created_on: datetime.datetime
    comment: str
    label_cols: tuple[str, ...]
    exclude_cols: tuple[str, ...]
    properties: Mapping[str, Any]
    statistics: Mapping[str, ColumnStatistics]
    _folder: Location
    _manifest: Manifest = dataclasses.field(repr=False)

    @classmethod
    def read(cls, folder: Location) -> DatasetVersion:
        """Read a version's manifest.

        Raises:
            DataNotReadable: the version is not complete, or not what its maker wrote.
        """
        manifest = commit.read_manifest(folder)
        details = manifest.details
        try:
            return cls(
                dataset=details["dataset"],
                name=details["version"],
                created_on=datetime.datetime.fromisoformat(details["createdOn"]),
                comment=details["comment"],
                label_cols=tuple(details["labelCols"]),
                exclude_cols=tuple(details["excludeCols"]),
                properties=details["properties"],
                statistics={
                    name: ColumnStatistics.from_dict(raw) for name, raw in details["statistics"].items()
                },
                _folder=folder,
                _manifest=manifest,
            )
        except (KeyError, TypeError) as error:
            raise DataNotReadable(f"{folder} holds a result, but no version of a data set.") from error

    def details(self) -> dict[str, Any]:
        """Return what ``read`` finds in the manifest."""
        return {
            "dataset": self.dataset,
            "version": self.name,
            "createdOn": self.created_on.isoformat(),
            "comment": self.comment,
            "labelCols": list(self.label_cols),
            "excludeCols": list(self.exclude_cols),
            "properties": dict(self.properties),
            "statistics": {name: column.to_dict() for name, column in self.statistics.items()},
        }

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""
        return self._manifest.schema

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self._manifest.rows

    @property
    def bytes(self) -> int:
        """Size of its files."""
        return self._manifest.bytes

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its files with their checksums, in the order of the rows."""
        return self._manifest.parts

    @property
    def training_columns(self) -> tuple[str, ...]:
        """The columns that training needs: all but the excluded ones."""
        return tuple(name for name in self.schema.names if name not in self.exclude_cols)

    @property
    def fingerprint(self) -> str:
        """SHA-256 that names the data: columns, rows and every value, whatever the version is called."""
        digest = hashlib.sha256(self.schema.serialize())
        for part in self.parts:
            digest.update(json.dumps([part.rows, part.footer]).encode())
        return digest.hexdigest()

    def url(self) -> str:
        """Return the folder of its files."""
        return self._folder.url

    def list_files(self, subdir: str | None = None) -> list[str]:
        """Return the URLs of its Parquet files, in the order of the rows.

        Args:
            subdir: only those below this folder of the version's. ``create_version`` makes none, so all
                files are in the version's own, which None means.
        """
        below = f"{subdir.strip('/')}/" if subdir and subdir.strip("/") else ""
        return [self._folder.child(part.name).url for part in self.parts if part.name.startswith(below)]

    def verify(self) -> None:
        """Read every byte and compare it with the checksums of the manifest.

        Reading rows verifies the pages that it decodes anyway; this is for a whole copy or restore.

        Raises:
            DataNotReadable: a file is gone or was changed; the first one is named.
        """
        commit.verify(self._folder, self._manifest)
