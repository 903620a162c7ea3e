"""Images from OCI archives into containerd, without a registry, and only once.

An import unpacks some 65 MB a second. So archives are imported into a containerd root in the cache,
and a new node gets a copy of it made of hard links: containerd never changes a file of an image,
only its databases, which are really copied. A node that runs imports for itself; layers that it has
already are skipped there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import base_image, namespaces
from tools.cluster.namespaces import Entrance
from tools.cluster.processes import Processes
from tools.locks import locked
from tools.steps import ToolError, cache_dir, step, wait_for

KEPT = 3
#: Of the images with gigabytes that others lack, the latest only.
KEPT_LARGE = 1
LARGE = ("mlpools-runtime-full", "mlpools-runtime-full-dependencies")
REF_NAME = "org.opencontainers.image.ref.name"


def references(archive: Path) -> dict[str, str]:
    """The names of an OCI archive's images, and the digests of their manifests.

    Raises:
        ToolError: the file is not an OCI archive, or names no image.
    """
    try:
        with tarfile.open(archive) as tar:
            index = tar.extractfile("index.json")
            manifests = json.load(index)["manifests"] if index else []
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise ToolError(f"{archive} is not an OCI archive: {error}") from error
    named = {entry["annotations"][REF_NAME]: entry["digest"] for entry in manifests if "annotations" in entry}
    if not named:
        raise ToolError(f"{archive} names no image; write it as oci-archive:PATH:NAME.")
    return named


@dataclass(frozen=True)
class ImageStore:
    """A containerd's root folder, with a note of what was imported.

    Attributes:
        root: The folder.
    """

    root: Path

    @property
    def _note(self) -> Path:
        return self.root / "imported.json"

    def images(self) -> dict[str, str]:
        """Names and digests of what was imported."""
        return dict(json.loads(self._note.read_text())) if self._note.exists() else {}

    def lacks(self, archive: Path) -> bool:
        """Whether an archive has an image that is not here, or is another one here."""
        return not references(archive).items() <= self.images().items()

    def load(self, archive: Path, socket: Path, inside: Entrance = namespaces.HERE) -> None:
        """Import an archive through the containerd that runs on this root, unless it is here."""
        if self.lacks(archive):
            with step(f"importing {', '.join(references(archive))}"), archive.open("rb") as content:
                inside.feed(content, *_ctr(socket), "images", "import", "-")
            self._note.write_text(json.dumps(self.images() | references(archive), indent=2))

    def plant(self, target: Path) -> None:
        """Copy this idle root for a new node: hard links where the file system is the same."""
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_suffix(".aside")
        shutil.rmtree(aside, ignore_errors=True)  # left by one that was killed
        links = ["--link"] if self.root.stat().st_dev == target.parent.stat().st_dev else []
        subprocess.run(["cp", "--archive", *links, str(self.root), str(aside)], check=True)
        for changing in (*aside.glob("*/*.db"), aside / "imported.json"):
            changing.unlink()
            shutil.copy2(self.root / changing.relative_to(aside), changing)
        aside.rename(target)

    def prune(self, socket: Path) -> None:
        """Forget all but the newest images of each repository; containerd then frees what only they had."""
        kept: dict[str, str] = {}
        repositories: Counter[str] = Counter()
        for name, digest in reversed(self.images().items()):
            repository = name.rpartition(":")[0]
            repositories[repository] += 1
            limit = KEPT_LARGE if repository.rpartition("/")[2] in LARGE else KEPT
            if repositories[repository] <= limit:
                kept[name] = digest
            else:
                namespaces.HERE.run(*_ctr(socket), "images", "remove", name)
        self._note.write_text(json.dumps(dict(reversed(kept.items())), indent=2))


def _ctr(socket: Path) -> tuple[str, ...]:
    return ("ctr", f"--address={socket}", "--namespace=k8s.io")


def plant_images(archives: Iterable[Path], targets: Iterable[Path]) -> None:
    """Give new nodes a containerd root with these archives' images and the base image.

    Args:
        archives: OCI archives; what the cache lacks is imported into it.
        targets: Folders that do not exist yet.
    """
    folder = cache_dir() / "containerd"
    store = ImageStore(folder / "root")
    with locked(folder):
        missing = [archive for archive in (base_image.archive(), *archives) if store.lacks(archive)]
        if missing:
            _import(folder, store, missing)
        for target in targets:
            store.plant(target)


def _import(folder: Path, store: ImageStore, archives: list[Path]) -> None:
    store.root.mkdir(exist_ok=True)
    config, socket = folder / "config.toml", folder / "containerd.sock"
    config.write_text(seed_config(store.root, folder / "state", socket))
    processes = Processes(folder, die_with_parent=True)
    # Its own mounts: an import that is killed leaves none behind.
    processes.start("containerd", ["containerd", f"--config={config}"], inside=namespaces.new())

    def reason() -> str | None:
        if processes.find("containerd") is None:
            raise processes.failure("containerd")
        done = subprocess.run(["ctr", f"--address={socket}", "version"], capture_output=True, check=False)
        return "it does not answer" if done.returncode else None

    try:
        wait_for("containerd of the image cache", reason, seconds=30)
        for archive in archives:
            store.load(archive, socket)
        store.prune(socket)
    finally:
        processes.stop("containerd")


def seed_config(root: Path, state: Path, socket: Path) -> str:
    """The configuration of a containerd that only imports."""
    return f"""\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
"""
