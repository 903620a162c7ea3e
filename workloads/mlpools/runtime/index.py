"""The pool's package index: what a job needs from it is resolved and installed by uv, as the pool says.

Only wheels are taken: to build a source distribution would run its code, and fetch tools that no policy has
seen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ssl
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlpools.contract.tasks import Packages
from mlpools.errors import PackagesNotResolved, SecretMissing
from mlpools.refusals import package_name, required_package
from mlpools.runtime import held, pinned
from mlpools.runtime.downloads import Downloads
from mlpools.runtime.pinned import Pinned, Wheel
from mlpools.runtime.uv import Uv
from mlpools.runtime.wheels import Wheels

_NAME = "pool"


class Index:
    """Resolves and installs from the pool's indexes."""

    def __init__(self, packages: Packages, namespace: str, mount: Path, work: Path) -> None:
        """Prepare.

        Args:
            packages: says which indexes.
            namespace: of the job, in which the Secrets are.
            mount: folder with the Secrets' files.
            work: folder for what is needed meanwhile.

        Raises:
            SecretMissing: a Secret that the pool names is not there.
            PackagesNotResolved: there is no uv.
        """
        self._packages, self._namespace, self._mount, self._work = packages, namespace, mount, work
        self._user, self._password = self._credentials()
        self._authorities = self._trusted()
        self._uv = Uv(work, packages, self._password, self._variables())
        # The index that has this name is told the credentials, and no other.
        self._own = [f"--default-index={_NAME}={packages.index_url}"] * bool(packages.index_url)
        self._addresses = [*self._own, *(f"--index={url}" for url in packages.extra_index_urls)]
        if packages.extra_index_urls:  # the best version of all is taken
            self._addresses.append("--index-strategy=unsafe-best-match")

    def resolve(self, wanted: Sequence[str], preferred: Sequence[Pinned] = ()) -> list[Pinned]:
        """Return all that has to be installed, in the order of names; nothing that the image has.

        Args:
            wanted: requirements of the job, perhaps with checksums, which count then.
            preferred: versions that are taken where nothing speaks against them.

        Raises:
            PackagesNotResolved: they cannot be had, or not together.
            PackageIndexUnavailable: the index does not answer.
        """
        image, asked, constraints = (self._work / name for name in ("image", "wanted.txt", "image.txt"))
        image.mkdir()
        versions = held.write(image)
        _write(asked, (line.partition("--hash")[0].strip() for line in wanted))
        _write(constraints, (f"{name}=={version}" for name, version in versions.items()))
        # uv keeps what a file has that it is to write.
        _write(self._work / "resolved.txt", (f"{it.name}=={it.version}" for it in preferred))
        found = self._compile(
            *(asked, "resolved.txt", "--generate-hashes", "--no-header"),
            *("--constraints", str(constraints), "--find-links", str(image)),
            *(f"--no-emit-package={name}" for name in versions),
        )
        own = {required_package(line.partition("--hash")[0]): pinned.hashes(line) for line in wanted}
        return [
            dataclasses.replace(package, hashes=own.get(package.name) or package.hashes)
            for package in pinned.packages(found)
        ]

    def wheels(self, packages: Sequence[Pinned]) -> list[Wheel]:
        """Return a file for each package that was resolved, one that this Python can use.

        Python reads what uv says about them from 3.11 on; an older one has none.

        Raises:
            PackageIndexUnavailable: the index does not answer any more.
        """
        if sys.version_info < (3, 11):
            return []
        import tomllib  # novm: not reached by an older one

        exact = self._exactly(packages)
        return pinned.wheels(tomllib.loads(self._compile(exact, "pylock.toml", "--no-deps")), packages)

    def install(self, packages: Sequence[Pinned], wheels: Sequence[Wheel], target: Path) -> None:
        """Install exactly what was resolved into a folder.

        Args:
            packages: as ``resolve`` returned them on rank 0.
            wheels: files of theirs that the pool's cache may have, or should have from now on.
            target: the folder.

        Raises:
            PackagesNotResolved: a file is not the one that was resolved, or does not fit on the disk.
            PackageIndexUnavailable: the index does not answer.
        """
        options = ["--no-deps", "--require-hashes", "--requirements", str(self._exactly(packages))]
        self._uv.run("install", "--target", str(target), *options, *self._sources(packages, wheels))

    def turn_into(self, packages: Sequence[Pinned], new: Sequence[Pinned], target: Path) -> None:
        """Make a folder hold exactly what was resolved; what it has already stays, and the rest goes.

        Args:
            packages: as ``resolve`` returned them.
            new: those of them that the folder lacks.
            target: the folder.

        Raises:
            PackagesNotResolved: a file is not the one that was resolved, or does not fit on the disk.
            PackageIndexUnavailable: the index does not answer.
        """
        wheels = self.wheels(new) if new and self._packages.cached else []
        options = ["--allow-empty-requirements", "--require-hashes", str(self._exactly(packages))]
        self._uv.run("sync", "--target", str(target), *options, *self._sources(new, wheels))

    def _sources(self, packages: Sequence[Pinned], wheels: Sequence[Wheel]) -> list[str]:
        """Return the options that say where to install from: wheels of the cache as far as they go."""
        if not wheels:
            return self._addresses
        folder = self._work / "wheels"
        folder.mkdir()
        downloads = Downloads(self._packages.index_url, self._user, self._password, self._authorities)
        Wheels().lay_out(wheels, folder, downloads.fetch)
        there = {package_name(path.name.partition("-")[0]) for path in folder.iterdir()}
        complete = there.issuperset(package.name for package in packages)
        return ["--find-links", str(folder), *(["--no-index"] if complete else self._addresses)]

    def _compile(self, source: Path, target: str, *options: str) -> str:
        path = self._work / target
        command = ["compile", str(source), "--output-file", str(path), *options]
        try:
            self._uv.run(*command, *self._addresses)
        except PackagesNotResolved:
            # Of several indexes uv does not tell which let nobody in; of one alone it does.
            others = [[f"--default-index={url}"] for url in self._packages.extra_index_urls]
            for alone in [self._own, *others] if others else []:
                with contextlib.suppress(PackagesNotResolved):
                    self._uv.run(*command, *alone)
            raise
        return path.read_text(encoding="utf-8")

    def _exactly(self, packages: Sequence[Pinned]) -> Path:
        """Write requirements that these packages meet, and no others."""
        path = self._work / "exact.txt"
        options = (" ".join(f"--hash={it}" for it in package.hashes) for package in packages)
        _write(path, (f"{it.name}=={it.version} {more}" for it, more in zip(packages, options)))
        return path

    def _credentials(self) -> tuple[str, str]:
        """Return user and password for the host of the pool's own index; without a Secret both are empty."""
        secret = self._packages.credentials_secret
        if not secret:
            return "", ""
        keys = "the keys username and password"
        user, password = (self._read(key, secret, keys).rstrip("\n") for key in ("username", "password"))
        return user, password

    def _trusted(self) -> Path | None:
        """Write the pool's authorities and those of the image into one file; None if the pool has none."""
        if not self._packages.ca_secret:
            return None
        own = self._read("ca.crt", self._packages.ca_secret, "a key ca.crt")
        there = ssl.create_default_context().get_ca_certs(binary_form=True)
        bundle = self._work / "authorities.pem"
        bundle.write_text("".join([own, "\n", *map(ssl.DER_cert_to_PEM_cert, there)]), encoding="ascii")
        return bundle

    def _variables(self) -> dict[str, str]:
        """Return the variables by which uv is told all this."""
        login = {"USERNAME": self._user, "PASSWORD": self._password} if self._user else {}
        variables = {f"UV_INDEX_{_NAME.upper()}_{key}": value for key, value in login.items()}
        if self._authorities:
            variables["SSL_CERT_FILE"] = str(self._authorities)
        return variables

    def _read(self, key: str, secret: str, what: str) -> str:
        try:
            return (self._mount / key).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise SecretMissing(
                f"The pool's package index needs Secret {secret} with {what}, and namespace "
                f"{self._namespace} has none: make it there."
            ) from None


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
