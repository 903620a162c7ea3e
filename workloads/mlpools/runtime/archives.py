"""A job's code as an archive: fetched, held to its checksum, and only then unpacked, within its folder.

What it is, tar or zip (which a wheel is), its content says: the URL may be a signed one with any ending.
"""

from __future__ import annotations

import hashlib
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from mlpools.errors import CodeNotReadable, CodeUnavailable, DataNotReadable, one_line
from mlpools.storage import locate

_TIMEOUT_SECONDS = 60
_CHUNK = 1 << 20
#: Answers of a server that may be others soon.
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


def fetch(url: str, sha256: str, file: Path, limit: int) -> None:
    """Fetch an archive.

    Args:
        url: as ``mlpools.storage`` takes them.
        sha256: that it has to have, in hexadecimal digits.
        file: to write.
        limit: bytes that it may have.

    Raises:
        CodeNotReadable: it is not there, is too large, or is another one.
        CodeUnavailable: its place does not answer.
    """
    found = _download(url, file, limit) if url.startswith(("http://", "https://")) else _read(url, file)
    if found != sha256.lower():
        raise CodeNotReadable(
            f"code.url: {url} has the SHA-256 {found}, and code.sha256 says {sha256}: it was replaced or "
            "damaged. Give the checksum of the archive that you mean."
        )


def unpack(file: Path, target: Path, url: str, limit: int) -> Path:
    """Unpack an archive and return the folder of the code.

    If all lies in one folder that is no package, as archives of repositories are made, that folder is it.

    Args:
        file: the archive.
        target: an empty folder, or one that is made.
        url: of the archive, for messages.
        limit: bytes that all files may have together.

    Raises:
        CodeNotReadable: it is no archive, is too large, or has names or links that lead out of it.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        if tarfile.is_tarfile(file):
            _unpack_tar(file, target, url, limit)
        elif zipfile.is_zipfile(file):
            _unpack_zip(file, target, url, limit)
        else:
            raise CodeNotReadable(f"code.url: {url} is neither a tar archive nor a zip archive or wheel.")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise CodeNotReadable(f"code.url: {url} cannot be unpacked: {one_line(error)}.") from error
    entries = list(target.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and not (entries[0] / "__init__.py").exists():
        return entries[0]
    return target


def _download(url: str, file: Path, limit: int) -> str:
    checksum, size = hashlib.sha256(), 0
    try:
        # Only http and https come here.
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, file.open("wb") as out:  # noqa: S310
            while chunk := answer.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise _too_large(url, limit)
                checksum.update(chunk)
                out.write(chunk)
            expected = answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        if error.code in _BUSY:
            raise CodeUnavailable(f"code.url: {url} answers {error.code} {error.reason}.") from error
        raise CodeNotReadable(
            f"code.url: {url} answers {error.code} {error.reason}. Is it spelt right, and may pods read it "
            "without credentials? A signed URL, or an object store, lets in who may."
        ) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise CodeUnavailable(f"code.url: {url} does not answer: {one_line(reason)}.") from error
    if expected is not None and size != int(expected):
        raise CodeUnavailable(f"code.url: {url} broke off after {size} of {expected} bytes.")
    return checksum.hexdigest()


def _read(url: str, file: Path) -> str:
    try:
        content = locate(url).read()
    except DataNotReadable as error:
        raise CodeNotReadable(f"code.url: {error}") from error
    except ModuleNotFoundError as error:
        raise CodeNotReadable(
            f"code.url: this image cannot read {url}: it has no {error.name}. Use https or an image with it."
        ) from error
    file.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _unpack_tar(file: Path, target: Path, url: str, limit: int) -> None:
    """Unpack plain files, folders and links that stay inside.

    ``tarfile`` has a filter for that only from Python 3.11.4 on, and images are as old as their users like.
    """
    root = target.resolve()
    size = 0
    with tarfile.open(file) as archive:
        archive.extraction_filter = lambda member, _: member  # newer versions want to be told
        for member in archive:
            place = root / member.name
            goal = place.parent / (member.linkname if member.issym() else "")
            # Links of earlier members count, so a name is followed to where it really leads.
            if not all(path.resolve().is_relative_to(root) for path in (place, goal)) or not (
                member.isfile() or member.isdir() or member.issym()
            ):
                raise _leads_out(url, member.name)
            size += member.size
            if size > limit:
                raise _too_large(url, limit)
            member.mode = 0o755 if member.isdir() or member.mode & stat.S_IXUSR else 0o644
            archive.extract(member, root, set_attrs=not member.issym())


def _unpack_zip(file: Path, target: Path, url: str, limit: int) -> None:
    with zipfile.ZipFile(file) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > limit:
            raise _too_large(url, limit)
        for entry in archive.infolist():
            path, mode = PurePosixPath(entry.filename), entry.external_attr >> 16
            if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(mode):
                raise _leads_out(url, entry.filename)
            made = Path(archive.extract(entry, target))
            if mode & stat.S_IXUSR and not entry.is_dir():
                made.chmod(0o755)


def _leads_out(url: str, name: str) -> CodeNotReadable:
    return CodeNotReadable(
        f"code.url: {url} has the entry {name!r}, a link or a name that leads out of it: pack plain files."
    )


def _too_large(url: str, limit: int) -> CodeNotReadable:
    return CodeNotReadable(
        f"code.url: {url} does not fit into the {limit / (1 << 20):.0f} MiB of disk that this pod may use: "
        "leave data out of it, or take a pool with more ephemeral storage."
    )
