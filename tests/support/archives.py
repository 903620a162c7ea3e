"""Archives of a job's code, made by tests."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping

from mlpools.contract.tasks import Code
from tests.support.web import Web


def tar(files: Mapping[str, str], **links: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        for name, goal in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, goal
            archive.addfile(entry)
    return packed.getvalue()


def zipped(files: Mapping[str, str], mode: int = 0o100644) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, text)
    return packed.getvalue()


def served(web: Web, content: bytes, name: str = "code.tar.gz") -> Code:
    """Serve an archive and return what a job says of it."""
    return Code(url=web.file(name, content), sha256=hashlib.sha256(content).hexdigest())
