"""Where data sets lie: the names of their files, and nothing of what is in them.

<root>/_datasets/<name>.json               that there is such a data set
<root>/<name>/<version>/part-….parquet     rows
<root>/<name>/<version>/_manifest.json     everything else about the version; see ``writers.commit``
<root>/<name>/<version>/_SUCCESS
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mlpools.data.writers import commit
from mlpools.errors import InvalidSpec
from mlpools.storage import Location, locate

#: Where data sets lie if nothing else is said.
ROOT_VARIABLE = "MLPOOLS_DATASETS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def root_of(root: str | Path | None) -> Location:
    """Return the folder of all data sets.

    Raises:
        InvalidSpec: nobody says which it is, or it is no URL.
    """
    given = root or os.environ.get(ROOT_VARIABLE)
    if not given:
        raise InvalidSpec(
            f"Nothing says where data sets lie: pass root, or set {ROOT_VARIABLE} to a folder's URL."
        )
    return locate(given)


def check_name(what: str, name: str) -> str:
    """Return a name that can be part of a URL.

    Raises:
        InvalidSpec: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise InvalidSpec(
            f"{what} {name!r} needs another name: 1 to 128 letters, digits, dots, underscores and hyphens, "
            "beginning with a letter or digit."
        )
    return name


def marker(root: Location, name: str) -> Location:
    """Return the file that says that there is a data set."""
    return root.child(f"_datasets/{check_name('Data set', name)}.json")


def dataset_names(root: Location) -> list[str]:
    """Return the names of all data sets, sorted."""
    files = root.child("_datasets").list(hidden=True)
    names = (info.url.rsplit("/", 1)[-1] for info in files)
    return sorted(name.removesuffix(".json") for name in names if name[0] != "." and name.endswith(".json"))


def version_folder(root: Location, name: str, version: str) -> Location:
    """Return the folder of a version."""
    return root.child(name).child(check_name("Version", version))


def version_names(root: Location, name: str) -> list[str]:
    """Return the names of all versions that are complete, sorted."""
    marks = (info.url for info in root.child(name).list(hidden=True))
    return sorted(url.rsplit("/", 2)[-2] for url in marks if url.endswith(f"/{commit.SUCCESS}"))
