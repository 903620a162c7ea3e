"""``python -m mlpools.runtime.inject FOLDER [--git]``: writes mlpools as one file, for an image without it.

The file is a zip archive with a ``__main__``, which any Python from 3.9 runs as it is and imports from. What
a pod begins with uses the standard library only; whatever else a job imports, its own image has to have.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mlpools.contract import INJECTED_START, INJECTED_ZIP

_MAIN = "import sys\nfrom mlpools.supervisor.__main__ import main\nsys.exit(main())\n"
#: What reading a Git repository takes; all of it works without its compiled parts.
_GIT = ("dulwich", "urllib3", "typing_extensions")


def write(folder: Path, *, git: bool) -> None:
    """Write the file and the script that starts it.

    Args:
        folder: that other containers of the pod have, too.
        git: whether to bring what reads Git repositories.
    """
    target = folder / INJECTED_ZIP
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("mlpools", *(_GIT if git else ())):
            for file, place in _files(name):
                archive.write(file, place)
        archive.writestr("__main__.py", _MAIN)
    start = folder / INJECTED_START
    start.write_bytes(Path(__file__).with_name("start.sh").read_bytes())
    for file in (target, start):
        file.chmod(0o755)


def _files(name: str) -> Iterator[tuple[Path, str]]:
    """Return the source files of a module or a package, and their places in the archive."""
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    origin = Path(found.origin)
    if not found.submodule_search_locations:
        yield origin, origin.name
        return
    for place, folders, names in os.walk(origin.parent):
        folders[:] = [folder for folder in folders if folder != "__pycache__"]
        for file in (Path(place, file) for file in sorted(names) if file.endswith((".py", ".sh"))):
            yield file, str(Path(name) / file.relative_to(origin.parent))


if __name__ == "__main__":
    write(Path(sys.argv[1]), git="--git" in sys.argv[2:])
