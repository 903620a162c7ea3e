"""``python -m mlpools.runtime.inject FOLDER [--git] [--uv]``: writes mlpools as one file, for other images.

The file is a zip archive with a ``__main__``, which any Python from 3.9 runs as it is and imports from. What
a pod begins with uses the standard library only; whatever else a job imports, its own image has to have.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlpools.contract.ends import Exit, Final
from mlpools.contract.wiring import (
    INJECTED_START,
    INJECTED_ZIP,
    RANK_ENV,
    TERMINATION_LOG,
    TERMINATION_LOG_ENV,
)
from mlpools.errors import InvalidSpec
from mlpools.runtime import uv
from mlpools.supervisor.final import write_termination

_MAIN = "import sys\nfrom mlpools.supervisor.__main__ import main\nsys.exit(main())\n"
#: What reading a Git repository takes; all of it works without its compiled parts.
_GIT = ("dulwich", "urllib3", "typing_extensions")


def write(folder: Path, *, git: bool = False, with_uv: bool = False) -> None:
    """Write the file and the script that starts it.

    Args:
        folder: that other containers of the pod have, too.
        git: whether to bring what reads Git repositories.
        with_uv: whether to bring the program that installs packages, if this image has it.

    Raises:
        InvalidSpec: this image does not have what reads Git repositories.
        OSError: the folder does not take the files.
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
    program = uv.find() if with_uv else None
    if program:
        shutil.copy(program, folder / uv.PROGRAM)


def _files(name: str) -> Iterator[tuple[Path, str]]:
    """Return the source files of a module or a package, and their places in the archive."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise InvalidSpec(
            f"The pool's image has no {name}, which is put beside the job's own for code.git: have it "
            "installed there, or take the code from an archive."
        )
    origin = Path(found.origin)
    if not found.submodule_search_locations:
        yield origin, origin.name
        return
    for place, folders, names in os.walk(origin.parent):
        folders[:] = [folder for folder in folders if folder != "__pycache__"]
        for file in (Path(place, file) for file in sorted(names) if file.endswith((".py", ".sh"))):
            yield file, str(Path(name) / file.relative_to(origin.parent))


def main(arguments: Sequence[str]) -> int:
    """Write the files, or say in the pod's termination message why not; return the exit code."""
    folder = Path(arguments[0])
    try:
        write(folder, git="--git" in arguments[1:], with_uv="--uv" in arguments[1:])
    except (InvalidSpec, OSError) as error:
        code = error.code if isinstance(error, InvalidSpec) else Exit.INTERNAL
        words = str(error)
        if isinstance(error, OSError):
            words = f"mlpools could not be written into the pod's volume at {folder}: {error.strerror}."
        final = Final(code, int(os.environ.get(RANK_ENV) or 0), message=words)
        write_termination(final, os.environ.get(TERMINATION_LOG_ENV, TERMINATION_LOG))
        return int(code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
