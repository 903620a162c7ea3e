"""Who runs the Dockerfile: buildah on a bare machine, else a Docker or Podman that answers."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tools.images import archive, keys
from tools.images.archive import Layer
from tools.steps import ToolError, last_line, step

HERE = Path(__file__).parent
POLICY = HERE / "policy.json"


class Builder(Protocol):
    """Builds a target of the Dockerfile and hands its image out as an OCI layout."""

    def build(self, target: str, reference: str, version: str) -> None:
        """Build a target, or find it built already, and name it."""

    def export(self, reference: str, layout: Path, known: Collection[Layer]) -> None:
        """Write an image into an empty layout; the content of known layers may be left out."""

    def keep(self, references: Collection[str]) -> None:
        """Forget the images of this repository that are not named here."""


def choose(folder: Path, context: Path) -> Builder:
    """The builder of this machine.

    Args:
        folder: where a builder may keep what it needs the next time.
        context: the repository.

    Raises:
        ToolError: there is none.
    """
    if shutil.which("buildah") and shutil.which("debootstrap") and os.geteuid() == 0:
        return Buildah(folder, context)
    for program in ("docker", "podman"):
        if shutil.which(program) and _answers(program):
            return Engine(program, folder, context)
    raise ToolError(
        "Images are built by buildah and debootstrap as root (apt-get install buildah debootstrap), "
        "or by a Docker or Podman that answers; neither is here."
    )


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own: nothing of the user's is seen or touched.

    Every command runs in its own mount namespace, so that one that is killed leaves no mount behind.
    """

    folder: Path
    context: Path

    def build(self, target: str, reference: str, version: str) -> None:
        """Build a target; layers that were built before are taken from the storage."""
        base = self._base()
        self._buildah(
            "bud", "--layers", "--isolation=chroot", "--network=host", *self._policy(), *_secrets(),
            f"--build-arg=BASE={base}", f"--build-arg=VERSION={version}",
            f"--target={target}", f"--tag={reference}", str(self.context),
        )  # fmt: skip

    def export(self, reference: str, layout: Path, known: Collection[Layer]) -> None:
        """Push without compressing, which would take longer than anything else here."""
        archive.pretend(layout, known)
        if not known:
            # Only a plain folder takes layers uncompressed, and no folder in which something is already; a
            # layout that has them leaves them so.
            with tempfile.TemporaryDirectory(dir=layout.parent) as plain:
                self._push(reference, f"dir:{plain}")
                archive.adopt(layout, Path(plain))
        self._push(reference, f"oci:{layout}")

    def keep(self, references: Collection[str]) -> None:
        """Remove our other named images, and with them the layers that no image needs any more."""
        self._buildah("rm", "--all")  # of builds that were killed: they hold on to their images
        ours = {_repository(reference) for reference in references}
        for name in self._buildah("images", "--noheading", "--format={{.Name}}:{{.Tag}}").split():
            if _repository(name) in ours and name not in references:
                self._buildah("rmi", name)

    def _base(self) -> str:
        reference = f"localhost/mlpools-base:{keys.base()}"
        if self._buildah("images", "--quiet", "--filter", f"reference={reference}"):
            return reference
        with step(f"making the base image (Debian {keys.SUITE})"):
            self._run(
                "sh", str(HERE / "base.sh"), keys.SUITE, ",".join(keys.PACKAGES), reference, str(POLICY)
            )
        return reference

    def _push(self, reference: str, destination: str) -> None:
        self._buildah("push", "--quiet", "--disable-compression", *self._policy(), reference, destination)

    def _policy(self) -> tuple[str, ...]:
        """Trust what is built here, without asking the machine's policy, which may not exist."""
        return ("--signature-policy", str(POLICY))

    def _buildah(self, *arguments: str) -> str:
        return self._run("buildah", *arguments)

    def _run(self, *command: str) -> str:
        # Its notes about mounts go to a new folder each time, since no mount outlives a command.
        with tempfile.TemporaryDirectory() as notes:
            config = self.folder / "storage.conf"
            config.write_text(
                f'[storage]\ndriver = "overlay"\nrunroot = "{notes}"\ngraphroot = "{self.folder}/storage"\n'
            )
            environment = {"CONTAINERS_STORAGE_CONF": str(config), "STORAGE_DRIVER": "overlay"}
            return _run(command, self.folder, environment, within=("unshare", "--mount"))


@dataclass(frozen=True)
class Engine:
    """Docker or Podman: they fetch the Dockerfile's own base from their registry."""

    program: str
    folder: Path
    context: Path

    def build(self, target: str, reference: str, version: str) -> None:
        """Build a target; the engine keeps its own cache of layers."""
        self._run(
            "build", *_secrets(), f"--build-arg=VERSION={version}",
            f"--target={target}", f"--tag={reference}", str(self.context),
        )  # fmt: skip

    def export(self, reference: str, layout: Path, known: Collection[Layer]) -> None:
        """Save the image whole: engines cannot leave layers out.

        Raises:
            ToolError: the engine saves in a format of its own.
        """
        saved = layout.with_suffix(".tar")
        options = ("--format=oci-archive",) if self.program == "podman" else ()
        try:
            self._run("save", *options, f"--output={saved}", reference)
            layout.mkdir()
            _run(("tar", "-xf", str(saved), "-C", str(layout)), self.folder, {})
        finally:
            saved.unlink(missing_ok=True)
        if not (layout / "index.json").exists():
            raise ToolError(f"This {self.program} does not save OCI images; Docker 25 and Podman 4 do.")

    def keep(self, references: Collection[str]) -> None:
        """Remove the tags of earlier builds; the engine prunes layers when its user says so."""
        ours = {_repository(reference) for reference in references}
        for repository in ours:
            names = self._run("images", "--format={{.Repository}}:{{.Tag}}", repository).split()
            for name in set(names) - set(references):
                self._run("rmi", name)

    def _run(self, *arguments: str) -> str:
        # Attestations would make an index of an image.
        environment = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        return _run((self.program, *arguments), self.folder, environment)


def _answers(program: str) -> bool:
    return not subprocess.run([program, "info"], capture_output=True, check=False).returncode


def _repository(reference: str) -> str:
    return reference.rpartition(":")[0]


def _secrets() -> tuple[str, ...]:
    """The authorities that this machine trusts: where TLS is intercepted, a build needs them too."""
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    return (f"--secret=id=ca,src={bundle}",) if bundle and Path(bundle).exists() else ()


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], *, within: Sequence[str] = ()
) -> str:
    """Run a program and return what it printed; what it says besides goes to the folder's log.

    Raises:
        ToolError: it failed; with the line that matters and the log's path.
    """
    log = folder / "build.log"
    with log.open("w") as errors:
        done = subprocess.run(
            [*within, *command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
    if done.returncode:
        log.write_text(done.stdout + log.read_text())
        raise ToolError(f"{' '.join(command[:2])} failed: {last_line(log)} (log: {log})")
    return done.stdout.strip()
