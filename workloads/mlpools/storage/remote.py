"""Objects in a store (S3, Google Cloud Storage, Azure Blob Storage) and files of a web server."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlpools.errors import DataNotReadable, OutputNotWritable
from mlpools.storage import client, failures, ranges
from mlpools.storage.info import FileInfo
from mlpools.storage.remote_file import RemoteFile, Store
from mlpools.storage.urls import Address, parse

if TYPE_CHECKING:
    import pyarrow as pa

#: Who wrote an object, so that a writer knows its own one again when the answer to its request was lost.
#: Azure takes only letters, digits and _ in names of attributes.
_WRITER = "mlpoolswriter"
_PART_BYTES = 16 << 20
_PARTS_AT_ONCE = 4
#: What every store takes in one request: Azure 5,000 MiB, S3 5 GiB.
_ONE_REQUEST_BYTES = 5000 << 20

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class RemotePlace:
    """What ``Location`` promises, for a URL."""

    url: str

    @functools.cached_property
    def address(self) -> Address:
        return parse(self.url)

    @property
    def _obstore(self) -> Any:
        return client.library()

    @property
    def _store(self) -> Any:
        return client.store(self.address)

    def info(self) -> FileInfo:
        if not self.address.key:
            raise failures.FileMissing(f"{self.url} is no file.")
        return self._reading(self._head)

    def _head(self) -> FileInfo:
        try:
            meta = self._obstore.head(self._store, self.address.key)
        except Exception as error:
            if not failures.refused(error):
                raise
            # The answer to HEAD has no body; the one to GET says why.
            meta = self._obstore.get(self._store, self.address.key, options={"range": (0, 1)}).meta
        return FileInfo(self.url, meta["size"], ranges.version_of(meta))

    def exists(self) -> bool:
        try:
            self.info()
        except FileNotFoundError:
            return self.address.kind != "http" and bool(self._reading(self._first))
        return True

    def _first(self) -> Any:
        stream = self._obstore.list(self._store, self.address.key or None, chunk_size=1)
        return next(iter(stream), None)

    def walk(self, *, hidden: bool) -> Iterator[FileInfo]:
        if self.address.kind == "http":
            raise DataNotReadable(
                f"{self.url} cannot be listed, since a web server has no listing. Name each file."
            )
        pages = self._reading(lambda: iter(self._obstore.list(self._store, self.address.key or None)))
        while (page := self._reading(lambda: next(pages, None))) is not None:
            for meta in page:
                info = FileInfo(self.address.url_of(meta["path"]), meta["size"], ranges.version_of(meta))
                if hidden or not _is_hidden(info.url[len(self.url) :]):
                    yield info

    def read(self) -> bytes:
        info = self.info()
        return bytes(ranges.fetch(info, 0, info.size))

    def read_range(self, start: int, stop: int) -> bytes:
        info = self.info()
        return bytes(ranges.fetch(info, start, max(start, min(stop, info.size))))

    def open(self, info: FileInfo) -> pa.NativeFile:
        from mlpools.storage.native import NativeFile  # Arrow is for those who open files

        return NativeFile(RemoteFile(info, Store(info)))

    def write(self, data: bytes, *, once: bool) -> None:
        if once:
            self._create(data)
        else:
            self._writing(lambda: self._put(data))

    def write_file(self, path: Path, *, once: bool) -> None:
        if once:
            if path.stat().st_size > _ONE_REQUEST_BYTES:
                raise OutputNotWritable(
                    f"{self.url} cannot be written: {path} has {path.stat().st_size:,} bytes; stores take "
                    f"{_ONE_REQUEST_BYTES:,} at most where an object is made only if there is none. "
                    "Write it in several files."
                )
            self._create(path.read_bytes())
        else:
            self._writing(lambda: self._put(path))

    def take(self, path: Path) -> None:
        self.write_file(path, once=True)
        path.unlink()

    def _put(self, content: bytes | Path) -> None:
        self._obstore.put(
            self._store,
            self.address.key,
            content,
            chunk_size=_PART_BYTES,
            max_concurrency=_PARTS_AT_ONCE,
        )

    def _create(self, data: bytes) -> None:
        """Write a new object; a write of ours that arrived although its answer was lost is a success."""
        writer = os.urandom(16).hex()
        deadline = time.monotonic() + client.patience()
        while True:
            try:
                self._obstore.put(
                    self._store, self.address.key, data, mode="create", attributes={_WRITER: writer}
                )
            except Exception as error:
                if failures.already_there(error):
                    held = self._held_by(writer, data)
                    if held is not None:
                        if held:
                            return
                        raise FileExistsError(f"{self.url} is there already.") from None
                elif not failures.broken_off(error):
                    raise failures.writing(error, self.address) from error
                # The answer was lost, or another writer gave up at the same moment (409): ask once more.
                if time.monotonic() > deadline:
                    raise failures.writing(error, self.address) from error
                time.sleep(0.1)
            else:
                return

    def _held_by(self, writer: str, data: bytes) -> bool | None:
        """Whether the object that is there is the one that we wrote; None if there is none after all.

        A store that does not keep attributes leaves only the content to compare.
        """
        try:
            answer = self._obstore.get(self._store, self.address.key)
            found = answer.attributes.get(_WRITER)
            return found == writer if found else bytes(answer.bytes()) == data
        except Exception as error:
            if failures.not_there(error):
                return None
            raise failures.writing(error, self.address) from error

    def delete(self) -> None:
        def delete() -> None:
            try:
                self._obstore.delete(self._store, self.address.key)
            except Exception as error:
                if not failures.not_there(error):
                    raise

        self._writing(delete)

    def delete_tree(self) -> None:
        keys = [parse(info.url).key for info in self.walk(hidden=True)]
        if keys:
            self._writing(lambda: self._obstore.delete(self._store, keys))

    def honours_once(self) -> bool:
        folder = f"{self.address.key}/" if self.address.key else ""
        probe = RemotePlace(self.address.url_of(f"{folder}.once-probe-{os.urandom(8).hex()}"))
        try:
            probe._create(b"1")
            probe._create(b"2")
        except FileExistsError:
            return True
        except OutputNotWritable as error:
            if "501" in str(error):
                return False
            raise
        else:
            return False
        finally:
            probe.delete()

    def _reading(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except DataNotReadable:
            raise
        except Exception as error:
            raise failures.reading(error, self.address) from error

    def _writing(self, work: Callable[[], None]) -> None:
        if self.address.kind == "http":
            raise OutputNotWritable(f"{self.url} cannot be written: a web server's files are only read here.")
        try:
            work()
        except Exception as error:
            raise failures.writing(error, self.address) from error


def _is_hidden(name: str) -> bool:
    return any(part[:1] in ("_", ".") for part in name.split("/") if part)
