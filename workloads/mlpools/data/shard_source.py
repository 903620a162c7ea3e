"""Shards of small files as a source of rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from mlpools.data import formats
from mlpools.data.files import plan_files, reading
from mlpools.data.formats.shard import BYTES
from mlpools.data.packs import PATH
from mlpools.data.parts import find_parts
from mlpools.data.plan import Plan, PlannedFile, Selection, Unit
from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Part
from mlpools.storage import FileInfo, locate


@dataclasses.dataclass(frozen=True)
class ShardSource(Selection):
    """The files in a folder that ``generate_shards`` has written.

    Attributes:
        url: the folder.
        content: what becomes of a file's bytes: name of one of ``formats.CONTENTS``.
        options: of the content.
        include_paths: also give each file's path, in column ``path``.
    """

    url: str
    content: str = "binary"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    include_paths: bool = False

    def plan(self) -> Plan:
        """Find the shards that the manifest names.

        Raises:
            DataNotReadable: they are not finished, or one was changed.
        """
        folder = locate(self.url)
        manifest = commit.read_manifest(folder)
        found = find_parts(folder, manifest.parts, f"the shards at {folder}")
        content = formats.make_content(self.content, self.options)
        with reading(found[0].url):
            content = content.settled(_first(found[0]))
        columns = self.columns or (content.field.name, *([PATH] if self.include_paths else []))
        plan = plan_files(
            found,
            "shard",
            options={"content": self.content, "options": content.options()},
            selection=dataclasses.replace(self, columns=columns),
        )
        return dataclasses.replace(plan, files=tuple(self._named(plan.files, manifest.parts)))

    def _named(self, files: tuple[PlannedFile, ...], parts: tuple[Part, ...]) -> Iterator[PlannedFile]:
        """Add what the manifest knows: rows and digests."""
        for i, (file, part) in enumerate(zip(files, parts, strict=True)):
            rows = file.units if self.filter else [Unit(j, j + 1, n) for j, n in enumerate(part.group_rows)]
            yield dataclasses.replace(
                file, name=f"shard-{i:05d}.arrow", digest=part.sha256, units=tuple(rows)
            )


def _first(info: FileInfo) -> bytes:
    """Return the first file of a shard."""
    with locate(info.url).open(info) as file:
        data: bytes = pa.ipc.open_file(file).get_batch(0).column(BYTES)[0].as_py()
    return data
