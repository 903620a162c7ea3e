"""What the image has, told to uv as wheels that hold nothing but a name, a version and extras.

uv resolves without looking at an environment, so all that a job needs would have to be on the index, mlpools
itself included. With these wheels, and with their versions as constraints, it is enough if the image and the
index have it together, and what the image has stays as it is. The image's packages count as complete: what
they need in turn is not asked for again. Only their extras are, since an image may well have a package and
not what one of its extras takes.
"""

from __future__ import annotations

import importlib.metadata
import re
import zipfile
from collections.abc import Sequence
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from mlpools.refusals import package_name

#: Marks a version as the image's, so that no file of the index is taken for it. ``==1.2`` takes it, too.
_MARK = "+image"
#: A version in its normal form (PEP 440); another spelling has no place in the name of a wheel.
_VERSION = re.compile(
    r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(?P<local>\+[a-z0-9]+(\.[a-z0-9]+)*)?"
)
_EXTRA = re.compile(r";.*\bextra\b")
_TAG = "Wheel-Version: 1.0\nGenerator: mlpools\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write(folder: Path) -> dict[str, str]:
    """Write a wheel for each package of the image that this process runs in.

    Args:
        folder: an empty one.

    Returns:
        Name -> version, as its wheel has it.
    """
    versions: dict[str, str] = {}
    for found in importlib.metadata.distributions():
        fields = _fields(found)
        # Half of a removed package has no name or no version.
        name, match = (
            package_name(fields["Name"] or ""),
            _VERSION.fullmatch((fields["Version"] or "").lower()),
        )
        if not name or match is None or name in versions:  # the first of a name is the one that is imported
            continue
        versions[name] = match[0] if match["local"] else f"{match[0]}{_MARK}"
        extras = [f"Provides-Extra: {extra}" for extra in fields.get_all("Provides-Extra", ())]
        needs = fields.get_all("Requires-Dist", ())
        extras += [f"Requires-Dist: {needed}" for needed in needs if _EXTRA.search(needed)]
        _write_one(folder, name, versions[name], extras)
    return versions


def _fields(found: importlib.metadata.Distribution) -> Message:
    """Return what a package says of itself, without its description, which takes the longest to read."""
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or found.read_text("") or ""
    return HeaderParser().parsestr(text.partition("\n\n")[0])


def _write_one(folder: Path, name: str, version: str, extras: Sequence[str]) -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *extras]
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", "".join(f"{line}\n" for line in lines))
        wheel.writestr(f"{stem}.dist-info/WHEEL", _TAG)
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
