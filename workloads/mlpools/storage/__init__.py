"""Where bytes lie: files on a volume and objects in a store, behind one set of words.

``locate(url)`` gives a ``Location``; ``match(urls)`` finds the files that URLs, folders and globs mean.
"""

from __future__ import annotations

from mlpools.storage.failures import FileMissing
from mlpools.storage.info import FileInfo
from mlpools.storage.location import Location, locate
from mlpools.storage.matching import match

__all__ = ["FileInfo", "FileMissing", "Location", "locate", "match"]
