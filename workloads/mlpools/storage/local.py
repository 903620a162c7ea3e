"""Files on a volume, written so that a reader sees all of one or nothing of it, whatever dies and when."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mlpools.errors import DataNotReadable, JobError, OutputNotWritable
from mlpools.storage import failures
from mlpools.storage.failures import FileMissing
from mlpools.storage.info import FileInfo

if TYPE_CHECKING:
    import pyarrow as pa

_PROBE = ".once-probe"


def write(path: Path, data: bytes, *, once: bool = False) -> None:
    """Write a file atomically and durably.

    Args:
        path: its folder must be there.
        data: all of the content.
        once: refuse to replace an existing file. Of two writers one succeeds, on NFS too.

    Raises:
        FileExistsError: with ``once``, and the file exists.
        OSError: the volume refuses.
    """

    def fill(file: BinaryIO) -> None:
        file.write(data)

    _place(path, fill, once=once)


def _place(path: Path, fill: Callable[[BinaryIO], None], *, once: bool) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with temporary.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        if once:
            os.link(temporary, path)
        else:
            temporary.replace(path)
            return
    finally:
        temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclasses.dataclass(frozen=True)
class LocalPlace:
    """What ``Location`` promises, for a path."""

    path: Path

    def info(self) -> FileInfo:
        with _reading(self.path):
            found = self.path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise FileMissing(f"{self.path} is no file.")
            return _file_info(str(self.path), found)

    def exists(self) -> bool:
        with _reading(self.path):
            return self.path.exists()

    def walk(self, *, hidden: bool) -> Iterator[FileInfo]:
        with _reading(self.path):
            yield from _walk(str(self.path), hidden, frozenset())

    def read(self) -> bytes:
        with _reading(self.path):
            return self.path.read_bytes()

    def read_range(self, start: int, stop: int) -> bytes:
        with _reading(self.path), self.path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def open(self, info: FileInfo) -> pa.NativeFile:
        import pyarrow as pa

        if self.info() != info:
            raise failures.replaced(info.url)
        with _reading(self.path):
            return pa.OSFile(str(self.path))

    def write(self, data: bytes, *, once: bool) -> None:
        with _writing(self.path):
            _make_folder(self.path.parent)
            write(self.path, data, once=once)

    def write_file(self, path: Path, *, once: bool) -> None:
        with _writing(self.path), path.open("rb") as source:
            _make_folder(self.path.parent)
            _place(self.path, lambda file: shutil.copyfileobj(source, file, 1 << 20), once=once)

    def take(self, path: Path) -> None:
        with _writing(self.path):
            _make_folder(self.path.parent)
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(path, self.path)
            except FileExistsError:
                if not path.samefile(self.path):  # it is the same where NFS lost its first answer
                    raise
            path.unlink()
            _sync_folder(self.path.parent)

    def delete(self) -> None:
        with _writing(self.path):
            self.path.unlink(missing_ok=True)

    def delete_tree(self) -> None:
        with _writing(self.path), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)

    def honours_once(self) -> bool:
        probe = self.path / f"{_PROBE}.{os.urandom(8).hex()}"
        try:
            _make_folder(self.path)
            write(probe, b"1", once=True)
            write(probe, b"2", once=True)
        except FileExistsError:
            return True
        except OSError:
            return False  # no hard links here, or no writing at all, which the first real write tells
        else:
            return False
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # only a writer who was asked to write once may see this one
        raise NotADirectoryError(errno.ENOTDIR, "a file has the name of this folder") from None


def _walk(folder: str, hidden: bool, above: frozenset[str]) -> Iterator[FileInfo]:
    """Follow links to folders, as a mounted ConfigMap has them, and never in a circle."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name[0] in "_." and not hidden:
            continue
        if entry.is_dir():
            yield from _walk(entry.path, hidden, above | {real})
        elif entry.is_file():
            with contextlib.suppress(FileNotFoundError):  # deleted since the folder was read
                yield _file_info(entry.path, entry.stat())


def _file_info(path: str, found: os.stat_result) -> FileInfo:
    return FileInfo(path, found.st_size, str(found.st_mtime_ns))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except JobError:
        raise
    except FileNotFoundError as error:
        raise FileMissing(f"{path} is not there; is the data mounted on every node?") from error
    except OSError as error:
        raise DataNotReadable(
            f"{path} cannot be read: {error.strerror}. Is its volume well, and may the job's user read it?"
        ) from error


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise OutputNotWritable(
            f"{path} cannot be written: {error.strerror}. "
            "Mount a volume there that has space and that the job's user may write to."
        ) from error
