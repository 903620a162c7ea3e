"""Folders of this machine in place of a cluster's volumes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlpools.errors import InvalidSpec

_FILE = "file://"
#: The fields of a data source that say where something is.
_URLS = frozenset({"url", "urls", "root"})
#: The fields of a framework's section that may name a file on a volume.
_PROGRAMS = frozenset({"file", "command", "args"})


@dataclass(frozen=True)
class Places:
    """Where the paths of a job's containers are on this machine.

    Attributes:
        folders: of mount paths that have one.
        volumes: the mount path of each volume of the job, and the volume's name.
    """

    folders: Mapping[str, Path]
    volumes: Mapping[str, str]

    def url(self, field: str, url: str) -> str:
        """Return a URL as it is right here; those of stores and of paths outside of volumes stay.

        Args:
            field: of the spec, for the message.
            url: as a container would use it.

        Raises:
            InvalidSpec: it lies on a volume that has no folder.
        """
        scheme = _FILE if url.startswith(_FILE) else ""
        path = url.removeprefix(_FILE)
        mounts = [it for it in {*self.folders, *self.volumes} if f"{path}/".startswith(f"{it}/")]
        if "://" in path or not mounts:
            return url
        mount = max(mounts, key=len)
        if mount not in self.folders:
            raise InvalidSpec(
                f"{field} is {url}, on the volume {self.volumes[mount]}, which is in the cluster. Say which "
                f"folder of this machine it is: --mount {mount}=FOLDER."
            )
        folder = str(self.folders[mount])
        return scheme + (quote(folder) if scheme else folder) + path.removeprefix(mount)

    def urls(self, field: str, value: Any) -> Any:
        """Return a part of a spec with all its URLs as they are right here."""
        return self._mapped(field, value, _URLS)

    def program(self, field: str, section: Any) -> Any:
        """Return the section of a framework with the paths of what it starts as they are right here."""
        return self._mapped(field, section, _PROGRAMS)

    def _mapped(self, field: str, value: Any, names: Collection[str]) -> Any:
        def here(text: Any) -> Any:
            return [here(one) for one in text] if isinstance(text, list) else self.url(field, text)

        if isinstance(value, dict):
            items = value.items()
            return {key: here(it) if key in names else self._mapped(field, it, names) for key, it in items}
        return [self._mapped(field, item, names) for item in value] if isinstance(value, list) else value
