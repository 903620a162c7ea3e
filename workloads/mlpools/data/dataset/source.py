"""A version of a data set as a source of rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from mlpools.data.dataset import layout
from mlpools.data.dataset.version import DatasetVersion
from mlpools.data.files import plan_files
from mlpools.data.plan import Plan, Selection
from mlpools.data.sources import check_keys
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.storage import FileInfo, locate


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
        """Read ``dataset: {name, version}``; the folder of all data sets is in the environment.

        Raises:
            InvalidSpec: a field is missing, or nothing says where data sets lie.
        """
        check_keys(name, raw, ("name", "version"))
        for field in ("name", "version"):
            if not raw.get(field):
                raise InvalidSpec(f"{name} needs {field}.")
        return cls(str(raw["name"]), str(raw["version"]), layout.root_of(None).url, **selection)

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
        folder = locate(version.url())
        parts = version.parts
        there = {info.url: info for info in folder.list()}
        files = [_whole(folder.child(part.name).url, part.bytes, there, str(self)) for part in parts]
        plan = plan_files(
            files,
            "parquet",
            options={"pageChecksums": True},
            selection=dataclasses.replace(self, columns=self.columns or version.training_columns),
            version=str(self),
        )
        for file, part in zip(plan.files, parts, strict=True):
            if file.digest != part.footer:
                raise _changed(file.url, str(self))
        # An attempt's name is in the files' names; data that is the same has the same plan.
        names = (f"part-{i:05d}.parquet" for i in range(len(parts)))
        return dataclasses.replace(
            plan,
            files=tuple(
                dataclasses.replace(file, name=name) for file, name in zip(plan.files, names, strict=True)
            ),
        )

    def __str__(self) -> str:
        return f"version {self.version!r} of data set {self.name!r}"


def _whole(url: str, size: int, there: Mapping[str, FileInfo], what: str) -> FileInfo:
    info = there.get(url)
    if info is None:
        raise DataNotReadable(f"{url} is gone, and {what} with it. Restore the file, or use another version.")
    if info.size != size:
        raise _changed(url, what)
    return info


def _changed(url: str, what: str) -> DataNotReadable:
    return DataNotReadable(
        f"{url} is not the file that {what} was made of: somebody changed it. "
        "Restore it, or make a new version."
    )
