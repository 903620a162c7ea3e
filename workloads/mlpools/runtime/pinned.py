"""What rank 0 resolved, as uv writes it: the packages, and the files that they are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from mlpools.document import Document

#: A package in a list of requirements: its line, and the indented ones below, checksums and who needs it.
_PACKAGE = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^\s;\\]+)(?P<more>.*(?:\n .*)*)", re.MULTILINE
)
_HASH = re.compile(r"--hash[= ](\S+)")
#: ``# via cat``, or ``# via`` and a line for each.
_VIA = re.compile(r"^ +#(?: via)? *(?P<by>\S+)?", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Pinned(Document):
    """A package to install.

    Attributes:
        hashes: of its files, such as ``sha256:0a…``; one of them has to be that of the installed file.
        needed_by: a package that needs it; empty if the job names it itself.
    """

    name: str
    version: str
    hashes: Sequence[str]
    needed_by: str = ""


@dataclasses.dataclass(frozen=True)
class Wheel(Document):
    """A file of a package that this image's Python can use.

    Attributes:
        file: its name.
        url: where the index has it.
        sha256: in hexadecimal digits.
    """

    file: str
    url: str
    sha256: str


def packages(requirements: str) -> list[Pinned]:
    """Return the packages of a list of requirements with their checksums, in the order of names."""
    found = []
    for package in _PACKAGE.finditer(requirements):
        by = [match["by"] for match in _VIA.finditer(package["more"]) if match["by"]]
        named = any(it.startswith("-") for it in by)  # in the file that ``-r`` says
        needed_by = "" if named or not by else by[0]
        found.append(Pinned(package["name"], package["version"], hashes(package["more"]), needed_by))
    return sorted(found, key=lambda it: it.name)


def hashes(requirement: str) -> list[str]:
    """Return the checksums that a requirement has as its options."""
    return _HASH.findall(requirement)


def wheels(lock: Mapping[str, Any], packages: Sequence[Pinned]) -> list[Wheel]:
    """Return a wheel for each package, if the index tells its SHA-256.

    Args:
        lock: a lock file (PEP 751) of uv's, which has those wheels only that this Python can use. Where these
            are several, that for the newest Python is returned.
        packages: whose checksums are taken and no others.
    """
    taken = {checksum for package in packages for checksum in package.hashes}
    found = []
    for package in lock.get("packages", ()):
        usable = [it for it in map(_wheel, package.get("wheels", ())) if f"sha256:{it.sha256}" in taken]
        if usable:
            found.append(max(usable, key=_python))
    return found


def _wheel(entry: Mapping[str, Any]) -> Wheel:
    file = entry.get("name") or unquote(urlsplit(entry["url"]).path.rpartition("/")[2])
    return Wheel(file, entry["url"], entry["hashes"].get("sha256", ""))


def _python(wheel: Wheel) -> list[int]:
    """Return the numbers of a wheel's tags: its Python comes first, 311 of ``cp311-abi3-linux_x86_64``."""
    return [int(number) for number in re.findall(r"\d+", "-".join(wheel.file.rsplit("-", 3)[1:]))]
