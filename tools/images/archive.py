"""OCI image layouts and archives.

A layout is a folder with `index.json` and `blobs/sha256/…`; an archive is the same as a tar file
(OCI image layout specification 1.0). An archive may lack layers that its receiver is known to have:
a thin archive.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Archive:
    """One image that can be imported.

    Attributes:
        reference: its full name with tag.
        digest: of its manifest, `sha256:…`.
        paths: OCI archives, to be imported in this order; only the last one carries the name.
    """

    reference: str
    digest: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Layer:
    """One layer as a manifest lists it; `size` in bytes."""

    digest: str
    size: int


def write(layout: Path, archive: Path, reference: str, *, without: Collection[str] = ()) -> None:
    """Pack the one image of a layout under a name; written beside the layout, then renamed.

    Args:
        layout: the folder.
        archive: the file to make.
        reference: the image's full name.
        without: digests of layers that the receiver has.
    """
    (described,) = json.loads((layout / "index.json").read_text())["manifests"]
    described["annotations"] = {REF_NAME: reference}
    manifest = json.loads(_blob(layout, described["digest"]).read_text())
    digests = [
        described["digest"],
        manifest["config"]["digest"],
        *(one["digest"] for one in manifest["layers"]),
    ]
    aside = layout.with_name("packing.tar")
    with tarfile.open(aside, "w") as tar:
        # First, so that a reader need not skip the layers to learn the name.
        _add_json(tar, "index.json", {"schemaVersion": 2, "manifests": [described]})
        _add_json(tar, "oci-layout", {"imageLayoutVersion": "1.0.0"})
        for digest in dict.fromkeys(digests):
            if digest not in without:
                path = _blob(layout, digest)
                tar.add(path, arcname=str(path.relative_to(layout)), filter=_anonymous)
    aside.replace(archive)


def digest(archive: Path) -> str:
    """The digest of an archive's manifest."""
    with tarfile.open(archive) as tar:
        return str(_described(tar)["digest"])


def layers(archive: Path) -> list[Layer]:
    """The layers that an archive's manifest lists, the lowest first."""
    with tarfile.open(archive) as tar:
        name = f"blobs/{_described(tar)['digest'].replace(':', '/')}"
        return [Layer(each["digest"], each["size"]) for each in _read_json(tar, name)["layers"]]


def pretend(layout: Path, known: Collection[Layer]) -> None:
    """Make a layout that seems to have these layers: files of their size and without content.

    Who pushes into a layout asks for a layer's size to see whether it is there, and skips it then.
    """
    for layer in known:
        path = _blob(layout, layer.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(layer.size)


def adopt(layout: Path, folder: Path) -> None:
    """Move blobs that lie in a folder, named by their SHA-256, into a layout."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if len(path.name) == 64:
            path.replace(blobs / path.name)


def _described(tar: tarfile.TarFile) -> dict[str, Any]:
    (described,) = _read_json(tar, "index.json")["manifests"]
    return dict(described)


def _read_json(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    file = tar.extractfile(name)
    assert file is not None, f"{name} is a file in every archive of ours"
    return dict(json.load(file))


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _add_json(tar: tarfile.TarFile, name: str, value: object) -> None:
    content = json.dumps(value).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry
