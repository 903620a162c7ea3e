"""From a checkout to archives: dependencies when their lock changed, code when the code did."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.images import archive, builders, keys
from tools.images.archive import Archive
from tools.images.builders import Builder
from tools.images.keys import TARGETS, USUAL, copy_sources
from tools.locks import locked
from tools.steps import ToolError, cache_dir, step

ROOT = Path(__file__).parents[2]


def version() -> str:
    """The project's version."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def build(*targets: str) -> dict[str, Archive]:
    """Build images where their archives are not in the cache.

    Args:
        targets: targets of the Dockerfile that make an image; none: the usual ones.

    Returns:
        The archive of each image, by target.

    Raises:
        ToolError: no such target, no builder on this machine, or a build failed; with its log's path.
    """
    names = targets or USUAL
    for target in names:
        if target not in TARGETS:
            raise ToolError(f"There is no image {target!r}; there are: {', '.join(TARGETS)}.")
    folder = cache_dir() / "images"
    with locked(folder), tempfile.TemporaryDirectory() as context:
        # A copy: what is edited meanwhile must not end up under the key of what was there before.
        copy_sources(ROOT, Path(context))
        plans = {name: _Plan.of(name, Path(context), folder) for name in names}
        if not all(plan.done for plan in plans.values()):
            builder = builders.choose(folder, Path(context))
            for plan in plans.values():
                plan.carry_out(builder)
            builder.keep(_forget_old(folder))
        return {name: plan.archive() for name, plan in plans.items()}


@dataclass(frozen=True)
class _Plan:
    """What it takes to have one image.

    Attributes:
        target: the image.
        dependencies: target -> name of the images below its code, the lowest first.
        reference: its own name.
        folder: of the archives.
    """

    target: str
    dependencies: Mapping[str, str]
    reference: str
    folder: Path

    @classmethod
    def of(cls, target: str, context: Path, folder: Path) -> _Plan:
        """Name what a target is made of by what is in the context."""
        below: dict[str, str] = {}
        part = target
        while part:
            below[part] = f"localhost/mlpools-{part}-dependencies:{keys.dependencies(context, part)}"
            part = TARGETS[part].upon
        reference = f"localhost/mlpools-{target}:{keys.image(context, target)}"
        return cls(target, dict(reversed(below.items())), reference, folder)

    @property
    def done(self) -> bool:
        return all(path.exists() for path in self._paths)

    def carry_out(self, builder: Builder) -> None:
        """Build and pack what is missing."""
        below: list[archive.Layer] = []
        for part, name in self.dependencies.items():
            path = _path(self.folder, name)
            if not path.exists():
                with step(f"building the {part} image's dependencies"):
                    builder.build(f"{part}-dependencies", name, version())
                    # With what is below, as if nothing were known: a layer on top of others is compressed,
                    # which is nothing for code, and for gigabytes takes longer than all else.
                    _pack(builder, name, path, below, known=())
            below = archive.layers(path)
        path = _path(self.folder, self.reference)
        if not path.exists():
            with step(f"building the {self.target} image"):
                builder.build(self.target, self.reference, version())
                _pack(builder, self.reference, path, below, known=below)

    def archive(self) -> Archive:
        """The result; its archives count as used now."""
        for path in self._paths:
            os.utime(path)
        return Archive(self.reference, archive.digest(self._paths[-1]), self._paths)

    @property
    def _paths(self) -> tuple[Path, ...]:
        return tuple(_path(self.folder, name) for name in (*self.dependencies.values(), self.reference))


def _pack(
    builder: Builder,
    reference: str,
    path: Path,
    below: Collection[archive.Layer],
    known: Collection[archive.Layer],
) -> None:
    """Export an image and make its archive, which leaves out the layers of the archives below."""
    with tempfile.TemporaryDirectory(dir=path.parent) as aside:
        layout = Path(aside) / "layout"
        builder.export(reference, layout, known)
        archive.write(layout, path, reference, without=[layer.digest for layer in below])


def _path(folder: Path, reference: str) -> Path:
    """`localhost/mlpools-operator:0123` → `mlpools-operator_0123.tar`."""
    return folder / f"{reference.partition('/')[2].replace(':', '_')}.tar"


def _forget_old(folder: Path) -> list[str]:
    """Delete the archives that were not used for the longest time; return the names of the others."""
    kept = []
    for target, image in TARGETS.items():
        for name, number in ((target, image.archives), (f"{target}-dependencies", image.dependencies)):
            latest = sorted(
                folder.glob(f"mlpools-{name}_*.tar"), key=lambda path: path.stat().st_mtime, reverse=True
            )
            for path in latest[number:]:
                path.unlink()
            kept += [f"localhost/{path.stem.replace('_', ':')}" for path in latest[:number]]
    return kept
