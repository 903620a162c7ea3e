"""Files mapped privately: mapped once, for as long as nobody changes what is seen of them.

To map 15 MB and let go of it costs the kernel a millisecond, in which no other thread gets the interpreter;
to cut a batch from it costs microseconds. So a mapping that nobody uses any more waits for the next one who
wants the file. One of which a page was written to does not show the file any more, and is given up.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

#: Linux's MADV_POPULATE_READ, which Python's mmap does not name.
_POPULATE_READ = 22
#: Bits of a page in Linux's pagemap: in memory, swapped out, still the file's.
_PRESENT, _SWAPPED, _OF_FILE = np.uint64(1 << 63), np.uint64(1 << 62), np.uint64(1 << 61)
_ENTRY_BYTES = 8

#: What differs between two files that had one name after the other: inode, time, size.
Version = tuple[int, int, int]


class Mappings:
    """The mappings of a process that wait to be used again, by the name of the file."""

    def __init__(self) -> None:
        self._idle: dict[str, tuple[Version, mmap.mmap]] = {}

    def take(self, name: str, version: Version) -> mmap.mmap | None:
        """Return the mapping of a file, if there is one of this version of it; it is the caller's alone."""
        known, mapping = self._idle.pop(name, (None, None))
        return mapping if known == version else None

    def forget(self, name: str) -> None:
        """Let go of a file that is no longer there, whose place on the disk is only free then."""
        self._idle.pop(name, None)

    def lend(self, name: str, version: Version, mapping: mmap.mmap) -> pa.Buffer:
        """Return a mapping as a buffer. With the last view of it, the mapping comes back here."""
        loan = _Loan(self._idle, name, version, mapping)
        return pa.foreign_buffer(loan.address, len(mapping), base=loan)


class _Loan:
    """Holds a mapping for as long as there are views of it."""

    def __init__(
        self, idle: dict[str, tuple[Version, mmap.mmap]], name: str, version: Version, mapping: mmap.mmap
    ) -> None:
        self._idle, self._name, self._version, self._mapping = idle, name, version, mapping
        self.address = int(np.frombuffer(mapping, np.uint8).ctypes.data)

    def __del__(self) -> None:
        if not sys.is_finalizing() and _is_as_mapped(self.address, len(self._mapping)):
            self._idle[self._name] = self._version, self._mapping


def map_file(descriptor: int, length: int) -> mmap.mmap:
    """Map the beginning of a file, all pages at once: a fault for each few costs more than to read them."""
    mapping = mmap.mmap(descriptor, length, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    with contextlib.suppress(OSError):  # Linux before 5.14
        mapping.madvise(_POPULATE_READ)
    return mapping


def _is_as_mapped(address: int, length: int) -> bool:
    """Return whether no page was written to; where the kernel does not say, one may have been."""
    first, last = address // mmap.PAGESIZE, (address + length - 1) // mmap.PAGESIZE
    try:
        with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
            pagemap.seek(first * _ENTRY_BYTES)
            found = pagemap.read((last - first + 1) * _ENTRY_BYTES)
    except OSError:
        return False
    pages = np.frombuffer(found, np.uint64)
    if len(pages) <= last - first:
        return False
    own = (pages & (_PRESENT | _SWAPPED) != 0) & (pages & _OF_FILE == 0)
    return not own.any()
