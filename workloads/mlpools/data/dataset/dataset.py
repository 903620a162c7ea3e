"""``Dataset``: named data whose versions never change."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, overload

import pyarrow as pa

from mlpools.data.connector import DataConnector
from mlpools.data.dataset import layout
from mlpools.data.dataset.source import DatasetSource
from mlpools.data.dataset.statistics import Statistics
from mlpools.data.dataset.version import DatasetVersion
from mlpools.data.sources import MemorySource
from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest
from mlpools.data.writers.parts import PartsWriter
from mlpools.errors import DataNotReadable, InvalidSpec, OutputExists, at_hand
from mlpools.storage import Location

#: Rows that are handed on at a time while they are shuffled.
_SHUFFLED_ROWS = 65_536


class DatasetReader(DataConnector):
    """All rows and columns of a version, the excluded ones too."""

    def files(self) -> list[str]:
        """Return the URLs of the version's Parquet files."""
        sources = (source for source in self.data_sources if isinstance(source, DatasetSource))
        return [url for source in sources for url in source.info().list_files()]


class Dataset:
    """A name for data, with versions that never change. Picklable.

    Make one with ``create`` or ``load``. Names are case-sensitive.

    Attributes:
        name: of the data set.
        selected_version: the version that ``read`` reads; None if none is selected.
    """

    def __init__(self, name: str, root: Location, selected: DatasetVersion | None = None) -> None:
        self.name = name
        self.selected_version = selected
        self._root = root

    @classmethod
    def create(
        cls, name: str, *, root: str | Path | None = None, exist_ok: bool = False, comment: str = ""
    ) -> Self:
        """Make a data set without versions.

        Args:
            name: 1 to 128 letters, digits, dots, underscores and hyphens.
            root: folder of all data sets, a path or URL; by default what MLPOOLS_DATASETS says.
            exist_ok: return the one that exists instead of refusing.
            comment: a person's words.

        Raises:
            OutputExists: there is one of that name.
            OutputNotWritable: the root refuses.
        """
        place = layout.root_of(root)
        document = {"name": name, "createdOn": _now().isoformat(), "comment": comment}
        try:
            layout.marker(place, name).write(json.dumps(document, indent=1).encode(), once=True)
        except FileExistsError:
            if not exist_ok:
                raise OutputExists(
                    f"There is a data set {name!r} at {place} already. Load it, or choose another name."
                ) from None
        return cls(name, place)

    @classmethod
    def load(cls, name: str, *, root: str | Path | None = None) -> Self:
        """Return a data set that exists.

        Raises:
            DataNotReadable: there is none of that name.
        """
        place = layout.root_of(root)
        if not layout.marker(place, name).exists():
            names = layout.dataset_names(place)
            raise DataNotReadable(
                f"There is no data set {name!r} at {place}. {at_hand(name, names, 'Data sets')}"
            )
        return cls(name, place)

    @staticmethod
    def list_names(root: str | Path | None = None) -> list[str]:
        """Return the names of all data sets below a root, sorted."""
        return layout.dataset_names(layout.root_of(root))

    @property
    def fully_qualified_name(self) -> str:
        """The URL of the folder of its versions."""
        return self._root.child(self.name).url

    @overload
    def list_versions(self, detailed: Literal[False] = False) -> list[str]: ...
    @overload
    def list_versions(self, detailed: Literal[True]) -> list[DatasetVersion]: ...
    def list_versions(self, detailed: bool = False) -> list[str] | list[DatasetVersion]:
        """Return the names of all versions, sorted; with ``detailed`` everything about them."""
        names = layout.version_names(self._root, self.name)
        return [DatasetVersion.read(self._folder(name)) for name in names] if detailed else names

    def select_version(self, version: str) -> Dataset:
        """Return this data set with a version selected; this object stays as it is.

        Raises:
            DataNotReadable: there is no such version, or it is damaged.
        """
        folder = self._folder(version)
        if not folder.child(commit.SUCCESS).exists():
            names = self.list_versions()
            raise DataNotReadable(
                f"Data set {self.name!r} has no version {version!r}. {at_hand(version, names, 'Versions')}"
            )
        return Dataset(self.name, self._root, DatasetVersion.read(folder))

    def create_version(
        self,
        version: str,
        data: Any,
        *,
        label_cols: Sequence[str] = (),
        exclude_cols: Sequence[str] = (),
        properties: Mapping[str, Any] | None = None,
        shuffle: bool = False,
        comment: str = "",
    ) -> Dataset:
        """Write a version and return the data set with it selected.

        Of two who make the same version at the same time one succeeds. Memory stays bounded, however
        much data there is.

        Args:
            version: its name, of the same letters as a data set's.
            data: a ``DataConnector``, a source, the URL of Parquet files, or a data frame.
            label_cols: columns to be predicted.
            exclude_cols: columns that are kept but are no features, such as ids.
            properties: whatever is worth noting, in JSON's types.
            shuffle: store the rows in an order drawn over all of them, the same one each time.
            comment: a person's words.

        Raises:
            OutputExists: the version exists; versions never change.
            InvalidSpec: a label or excluded column is not there, or the data cannot be stored.
            DataNotReadable: the data cannot be read, or has no rows.
            OutputNotWritable: the place refuses.
        """
        connector = _connector(data)
        _check_columns(connector.schema.names, label_cols, exclude_cols)
        _check_json(properties or {})
        folder = self._folder(version)
        try:
            attempt = commit.begin(folder)
            writer = PartsWriter(folder, connector.schema, attempt=attempt)
            statistics = _fill(writer, connector, shuffle=shuffle)
            made = DatasetVersion(
                dataset=self.name,
                name=version,
                created_on=_now(),
                comment=comment,
                label_cols=tuple(label_cols),
                exclude_cols=tuple(exclude_cols),
                properties=properties or {},
                statistics=statistics.result(),
                _folder=folder,
                _manifest=Manifest((), connector.schema, attempt),
            )
            commit.commit(folder, writer.parts, connector.schema, attempt=attempt, details=made.details())
        except OutputExists as error:
            raise OutputExists(
                f"Data set {self.name!r} has a version {version!r} already, and versions never change. "
                "Choose another name for the new one."
            ) from error
        if not layout.marker(self._root, self.name).exists():
            commit.delete(folder)
            raise DataNotReadable(f"Data set {self.name!r} was deleted while version {version!r} was made.")
        return self.select_version(version)

    def delete_version(self, version: str) -> None:
        """Delete a version. Whoever reads it at this moment is told so."""
        self.select_version(version)
        commit.delete(self._folder(version))

    def delete(self) -> None:
        """Delete all versions, and the data set."""
        for version in self.list_versions():
            commit.delete(self._folder(version))
        self._root.child(self.name).delete_tree()
        layout.marker(self._root, self.name).delete()

    @property
    def read(self) -> DatasetReader:
        """A connector of the selected version, with all columns.

        Raises:
            InvalidSpec: no version is selected.
            DataNotReadable: the version is gone, or its bytes changed.
        """
        source = self.source(columns=self.selected.schema.names)
        return DatasetReader.from_sources(source)

    @property
    def selected(self) -> DatasetVersion:
        """The selected version.

        Raises:
            InvalidSpec: none is selected.
        """
        if self.selected_version is None:
            raise InvalidSpec(
                f"Say which version of data set {self.name!r} is meant, by select_version. "
                f"There are: {', '.join(self.list_versions()) or 'none'}."
            )
        return self.selected_version

    def source(self, **selection: Any) -> DatasetSource:
        """Return the selected version as a source; arguments are ``columns``, ``filter`` and ``limit``."""
        return DatasetSource(self.name, self.selected.name, self._root.url, **selection)

    def _folder(self, version: str) -> Location:
        return layout.version_folder(self._root, self.name, version)

    def __repr__(self) -> str:
        selected = f", version {self.selected_version.name!r}" if self.selected_version else ""
        return f"Dataset({self.name!r} at {self._root}{selected})"


def create_from_dataframe(
    name: str, version: str, input_dataframe: Any, *, root: str | Path | None = None, **version_kwargs: Any
) -> Dataset:
    """Make a data set, unless it exists, and a version of a data frame; see ``Dataset.create_version``."""
    dataset = Dataset.create(name, root=root, exist_ok=True)
    return dataset.create_version(version, input_dataframe, **version_kwargs)


def load_dataset(name: str, version: str, *, root: str | Path | None = None) -> Dataset:
    """Return a data set with a version selected."""
    return Dataset.load(name, root=root).select_version(version)


def _connector(data: Any) -> DataConnector:
    if isinstance(data, DataConnector):
        return data
    if isinstance(data, str | MemorySource) or hasattr(data, "plan"):
        return DataConnector.from_sources(data)
    return DataConnector.from_dataframe(data)


def _fill(writer: PartsWriter, connector: DataConnector, *, shuffle: bool) -> Statistics:
    statistics = Statistics(connector.schema)
    rows = 0
    with writer:
        for table in _shuffled(connector) if shuffle else connector.to_tables():
            statistics.update(table)
            writer.write(table)
            rows += table.num_rows
        if not rows:
            raise DataNotReadable("The data for the new version has no rows.")
    return statistics


def _shuffled(connector: DataConnector) -> Iterator[pa.Table]:
    for batch in connector.to_batches(_SHUFFLED_ROWS, shuffle=True, seed=0, epoch=0):
        yield pa.Table.from_batches([batch])


def _check_columns(names: Sequence[str], label_cols: Sequence[str], exclude_cols: Sequence[str]) -> None:
    for kind, columns in (("label_cols", label_cols), ("exclude_cols", exclude_cols)):
        if isinstance(columns, str):
            raise InvalidSpec(f"{kind} is a list of columns: write [{columns!r}].")
        for name in columns:
            if name not in names:
                raise InvalidSpec(
                    f"{kind} names {name!r}, which is no column. {at_hand(name, names, 'Columns')}"
                )
    both = set(label_cols) & set(exclude_cols)
    if both:
        raise InvalidSpec(f"Column {min(both)!r} cannot be a label and excluded.")


def _check_json(properties: Mapping[str, Any]) -> None:
    try:
        json.dumps(dict(properties), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"properties cannot be stored as JSON: {error}.") from error


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
