"""``pip`` and ``uv pip`` in a notebook: they install from the pool's index, and what they do is kept.

Other commands of uv go to uv itself, and a virtual environment of a person's own to its own pip.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from mlpools.errors import InvalidSpec, JobError, PackagesNotResolved
from mlpools.notebook import kept
from mlpools.notebook.packages import Change, WorkspacePackages
from mlpools.refusals import package_name, required_package
from mlpools.runtime import packages, uv

#: Options that change nothing here, and are often written.
_WITHOUT_EFFECT = (
    "--quiet",
    "--user",
    "--system",
    "--no-cache-dir",
    "--no-input",
    "--disable-pip-version-check",
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidSpec(
            f"{self.prog}: {message}. In a notebook it takes names with versions, -r FILE and --upgrade: "
            "packages come from the pool's index."
        )


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=program, description="Packages of this notebook, from the pool's index.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    install = commands.add_parser("install", help="install packages; they are there after a restart too")
    install.add_argument("wanted", nargs="*", metavar="NAME")
    install.add_argument("-r", "--requirement", "--requirements", action="append", default=[], metavar="FILE")
    install.add_argument("-U", "--upgrade", action="store_true", help="take the newest versions")
    uninstall = commands.add_parser("uninstall", help="do without packages that were installed here")
    uninstall.add_argument("names", nargs="+", metavar="NAME")
    uninstall.add_argument("-y", "--yes", action="store_true", help="it never asks")
    commands.add_parser("list", help="list the packages of the image and of this notebook")
    commands.add_parser("freeze", help="list the packages of this notebook as runtime.packages takes them")
    for command in (install, uninstall):
        command.add_argument("-q", *_WITHOUT_EFFECT, action="store_true", help=argparse.SUPPRESS)
    return parser


def _install(mine: WorkspacePackages, told: argparse.Namespace) -> Iterator[str]:
    files = [line for name in told.requirement for line in _lines(Path(name))]
    wanted = [*told.wanted, *files]
    if not wanted:
        raise InvalidSpec("Say which packages: pip install NAME.")
    for word in wanted:
        if required_package(word.partition("--hash")[0]) is None:
            raise PackagesNotResolved(
                f"{word!r} is not a name with versions. Addresses and paths are not taken: packages come "
                "from the pool's index."
            )
    change = mine.add(wanted, upgrade=told.upgrade)
    yield from _words(change)
    if not change.new:
        names = ", ".join(filter(None, (required_package(it.partition("--hash")[0]) for it in wanted)))
        yield f"Nothing to do: {names} is there already, in the image or in this notebook."


def _lines(file: Path) -> list[str]:
    try:
        return list(packages.lines(file.read_text(encoding="utf-8"), str(file)))
    except OSError as error:
        raise InvalidSpec(f"{file} cannot be read: {error.strerror}.") from error


def _uninstall(mine: WorkspacePackages, told: argparse.Namespace) -> Iterator[str]:
    asked = {required_package(it.partition("--hash")[0]) for it in mine.record.asked}
    unknown = [name for name in told.names if package_name(name) not in asked]
    if unknown:
        raise PackagesNotResolved(
            f"{', '.join(unknown)}: not installed by a command of this notebook. What the image and "
            "runtime.packages bring, and what other packages need, stays."
        )
    yield from _words(mine.remove(told.names))


def _words(change: Change) -> Iterator[str]:
    if change.new:
        yield f"Installed {', '.join(f'{it.name} {it.version}' for it in change.new)}."
    if change.gone:
        yield f"Removed {', '.join(change.gone)}."


def _list(mine: WorkspacePackages) -> Iterator[str]:
    here = kept.versions(mine.library)
    image = {package_name(it.metadata["Name"]): it.version for it in importlib.metadata.distributions()}
    wide = max(map(len, [*here, *image]), default=0)
    for name, version in sorted({**image, **here}.items()):
        yield f"{name:{wide}}  {version:14} {'notebook' if name in here else 'image'}"


def _freeze(mine: WorkspacePackages) -> Iterator[str]:
    yield from (f"{name}=={version}" for name, version in sorted(kept.versions(mine.library).items()))


def _run(program: str, arguments: Sequence[str]) -> Iterable[str]:
    told = _parser(program).parse_args(arguments)
    mine = WorkspacePackages.from_environment()
    if told.command in ("install", "uninstall"):
        return (_install if told.command == "install" else _uninstall)(mine, told)
    return (_list if told.command == "list" else _freeze)(mine)


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: the program's name, and what it was told.
    """
    program, *words = arguments
    if program == "uv":
        if words[:1] != ["pip"] or os.environ.get("VIRTUAL_ENV") or not words[1:]:
            return _real_uv(words)
        program, words = "uv pip", words[1:]
    try:
        for line in _run(program, words):
            print(line, flush=True)  # noqa: T201 - what the command says
    except JobError as error:
        print(f"ERROR: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _real_uv(words: Sequence[str]) -> int:
    found = uv.find()
    if found is None:
        print("ERROR: This image has no uv.", file=sys.stderr)  # noqa: T201
        return 127
    return subprocess.run([found, *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
