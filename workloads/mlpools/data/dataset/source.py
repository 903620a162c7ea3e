"""A version of a data set as a source of rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from mlpools.data.dataset import layout
from mlpools.data.dataset.version import DatasetVersion
from mlpools.data.parts import plan_parts
from mlpools.data.plan import Plan, Selection
from mlpools.data.sources import check_keys
from mlpools.storage import locate


@dataclasses.dataclass(frozen=True)
class DatasetSource(Selection):
    """A version of a data set.

    Without ``columns`` it gives what training needs: the features and labels, and not the excluded columns.

    Attributes:
        name: of the data set.
        version: its name.
        root: URL of the folder of all data sets.
    """

    name: str
    version: str
    root: str

    @classmethod
    def from_spec(cls, name: str, raw: Mapping[str, Any], selection: Mapping[str, Any]) -> Self:
        """Read ``dataset: {root, name, version}``; without ``root`` the environment tells it.

        Raises:
            InvalidSpec: a field is missing, or nothing says where data sets lie.
        """
        check_keys(name, raw, ("root", "name", "version"), needed=("name", "version"))
        return cls(str(raw["name"]), str(raw["version"]), layout.root_of(raw.get("root")).url, **selection)

    def info(self) -> DatasetVersion:
        """Return what is known of the version.

        Raises:
            DataNotReadable: there is no such version, or its manifest is damaged.
        """
        return DatasetVersion.read(layout.version_folder(locate(self.root), self.name, self.version))

    def plan(self) -> Plan:
        """Find the version's files and compare them with its manifest.

        Raises:
            DataNotReadable: there is no such version, or its files are not what its maker wrote.
        """
        version = self.info()
        selection = dataclasses.replace(self, columns=self.columns or version.training_columns)
        return plan_parts(locate(version.url()), version.parts, str(self), selection, version=str(self))

    def __str__(self) -> str:
        return f"version {self.version!r} of data set {self.name!r}"
