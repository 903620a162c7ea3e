"""The pool's package index, asked through pip.

pip runs apart from what the job's environment says about it: its options are ours alone, so that no
``PIP_INDEX_URL`` leads past the pool's index. Only wheels are taken: to build a source distribution would run
its code, and fetch tools that no policy has seen. A password reaches pip in a file, never in an argument, and
is masked in all that pip says.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlpools.contract import Packages
from mlpools.errors import PackageIndexUnavailable, PackagesNotResolved, SecretMissing
from mlpools.refusals import package_name, required_package
from mlpools.runtime.pinned import Pinned
from mlpools.runtime.wheels import Wheels

#: Variables of the pod that pip may see: where the network begins, and no option of pip's.
_PASSED_ON = (
    *("PATH", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"),
)
_LIMIT_SECONDS = 1800.0
_GENERAL = (
    *("--isolated", "--no-input", "--disable-pip-version-check", "--no-color"),
    *("--timeout=15", "--retries=3"),
)
_WHEELS = ("--only-binary=:all:", "--progress-bar=off")
_OPTIONS = {"install": (*_WHEELS, "--root-user-action=ignore"), "download": _WHEELS}
_SHOWN = 400

#: In pip's verbose log. A page that is not there (404) is an answer; all else is an index out of reach.
_NO_PAGE = re.compile(r"Could not fetch URL (?P<url>\S+): (?P<why>(?!404 ).+?) - skipping")
_NO_FILE = re.compile(r"HTTP error (?P<why>\d+) while getting (?P<url>\S+)")
_BROKEN = re.compile(
    r"Max retries exceeded|connection broken by|Read timed out|ReadTimeoutError|IncompleteRead|"
    r"Connection (?:reset|refused|aborted)|CERTIFICATE_VERIFY_FAILED"
)
_DENIED = re.compile(r"\b40[13]\b")


class Index:
    """Resolves and installs from the pool's indexes."""

    def __init__(self, packages: Packages, namespace: str, mount: Path, work: Path) -> None:
        """Prepare.

        Args:
            packages: says which indexes.
            namespace: of the job, in which the Secrets are.
            mount: folder with the Secrets' files.
            work: folder for what pip needs meanwhile.

        Raises:
            SecretMissing: a Secret that the pool names is not there.
            PackagesNotResolved: the image has no pip.
        """
        if importlib.util.find_spec("pip") is None:
            raise PackagesNotResolved(
                "The image has no pip to install packages with: use an image that has it, or the packages."
            )
        self._packages, self._namespace, self._mount, self._work = packages, namespace, mount, work
        own = [packages.index_url] if packages.index_url else []
        self._urls = [*own, *packages.extra_index_urls]
        self._name = packages.index_url or "the public index"
        self._password = ""
        self._log = work / "pip.log"
        self._environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._environ |= {"HOME": str(work), "PIP_CONFIG_FILE": os.devnull, "PYTHONUTF8": "1"}
        self._environ["NETRC"] = str(self._netrc())
        self._options = [*self._addresses(), *self._authorities()]

    def resolve(self, requirements: Sequence[str], image: Mapping[str, str]) -> list[Pinned]:
        """Return all that has to be installed for some requirements, in the order of names.

        Args:
            requirements: lines as pip takes them.
            image: what is there and stays as it is: name -> version.

        Raises:
            PackagesNotResolved: they cannot be had, or not together.
            PackageIndexUnavailable: the index does not answer.
        """
        wanted, constraints, report = (self._work / it for it in ("wanted.txt", "image.txt", "report.json"))
        wanted.write_text("".join(f"{line}\n" for line in requirements), encoding="utf-8")
        held = (f"{name}=={version}\n" for name, version in sorted(image.items()))
        constraints.write_text("".join(held), encoding="utf-8")
        self._pip(
            "install", ["--dry-run", "--report", str(report), "-r", str(wanted), "-c", str(constraints)]
        )
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
        parents = {
            name: str(item["metadata"]["name"])
            for item in found
            for needed in item["metadata"].get("requires_dist", ())
            if (name := required_package(needed))
        }
        pinned = []
        for item in found:
            name, version = package_name(item["metadata"]["name"]), str(item["metadata"]["version"])
            checksum = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256", "")
            file = unquote(urlsplit(item["download_info"]["url"]).path.rpartition("/")[2])
            needed_by = "" if item["requested"] else parents.get(name, "")
            pinned.append(Pinned(name, version, str(checksum), file, needed_by))
        return sorted(pinned, key=lambda package: package.name)

    def install(self, pinned: Sequence[Pinned], target: Path) -> None:
        """Install exactly these files into a folder: those of the pool's cache, and the rest from the index.

        Raises:
            PackagesNotResolved: a file is not the one that was resolved, or does not fit on the disk.
            PackageIndexUnavailable: the index does not answer.
        """
        if not self._packages.cached:
            self._pip("install", ["--target", str(target), *self._locked(pinned)])
            return
        folder, wheels = self._work / "wheels", Wheels()
        folder.mkdir(exist_ok=True)
        missing = wheels.take(pinned, folder)
        if missing:
            self._pip("download", ["--dest", str(folder), *self._locked(missing)])
            wheels.keep(missing, folder)
        local = ["--no-index", "--find-links", str(folder)]
        self._pip("install", [*local, "--target", str(target), *self._locked(pinned)])

    def _locked(self, pinned: Sequence[Pinned]) -> list[str]:
        """Return pip's options for these files and no others."""
        lock = self._work / "lock.txt"
        lines = (f"{it.name}=={it.version} --hash=sha256:{it.sha256}\n" for it in pinned)
        lock.write_text("".join(lines), encoding="utf-8")
        return ["--no-deps", "--require-hashes", "-r", str(lock)]

    def _addresses(self) -> list[str]:
        options = ["--index-url", self._packages.index_url] if self._packages.index_url else []
        for url in self._packages.extra_index_urls:
            options += ["--extra-index-url", url]
        plain = {urlsplit(url).netloc for url in self._urls if urlsplit(url).scheme == "http"}
        for host in sorted(plain):  # pip wants to be told that an index without TLS is meant
            options += ["--trusted-host", host]
        return options

    def _authorities(self) -> list[str]:
        """Return the option by which the pool's authorities are trusted beside those of the image."""
        if not self._packages.ca_secret:
            return []
        own = self._read("ca.crt", self._packages.ca_secret, "a key ca.crt")
        there = ssl.create_default_context().get_ca_certs(binary_form=True)
        bundle = self._work / "authorities.pem"
        bundle.write_text("".join([own, "\n", *map(ssl.DER_cert_to_PEM_cert, there)]), encoding="ascii")
        return ["--cert", str(bundle)]

    def _netrc(self) -> Path:
        """Write the credentials, for the host of the pool's own index only; without a Secret nothing."""
        text, secret = "", self._packages.credentials_secret
        if secret:
            keys = "the keys username and password"
            user, password = (self._read(key, secret, keys).rstrip("\n") for key in ("username", "password"))
            self._password = password
            host = urlsplit(self._packages.index_url).hostname
            text = f"machine {host} login {_quoted(user)} password {_quoted(password)}\n"
        path = self._work / "netrc"
        path.touch(0o600)
        path.write_text(text, encoding="utf-8")
        return path

    def _read(self, key: str, secret: str, what: str) -> str:
        try:
            return (self._mount / key).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise SecretMissing(
                f"The pool's package index needs Secret {secret} with {what}, and namespace "
                f"{self._namespace} has none: make it there."
            ) from None

    def _pip(self, action: str, arguments: Sequence[str]) -> None:
        """Run a command of pip; what it says goes to the log of the job.

        Raises:
            PackagesNotResolved: it says that the job's wishes cannot be met.
            PackageIndexUnavailable: it could not ask.
        """
        self._log.unlink(missing_ok=True)
        # -I: neither a module of the job's nor a variable changes what runs here.
        command = [sys.executable, "-I", "-m", "pip", *_GENERAL, "--log", str(self._log)]
        command += [action, *_OPTIONS[action], *self._options]
        process = subprocess.Popen(
            [*command, *arguments],
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        timer = threading.Timer(_LIMIT_SECONDS, process.kill)
        timer.start()
        said = []
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said.append(self._masked(line.rstrip()))
                print(said[-1], flush=True)  # noqa: T201 - into the log, where a person looks for it
        code = process.wait()
        expired = timer.finished.is_set()
        timer.cancel()
        if expired:
            raise PackageIndexUnavailable(
                f"Packages from {self._name} were not there after {_LIMIT_SECONDS / 60:.0f} minutes. Ask "
                "the pool's administrator whether the index is slow, or for an image that has them."
            )
        if code != 0:
            raise self._trouble(said)

    def _trouble(self, said: Sequence[str]) -> PackagesNotResolved | PackageIndexUnavailable:
        """Tell whether the index or the job is at fault: pip says to a person the same of both."""
        detail = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        found = _NO_PAGE.search(detail) or _NO_FILE.search(detail)
        broken = _BROKEN.search(detail)
        if found or broken:
            url = found["url"] if found else self._name
            why = found["why"] if found else next(it for it in detail.splitlines() if _BROKEN.search(it))
            return self._unavailable(self._masked(url), self._masked(why))
        words = " ".join(_complaint(said).split()) or "pip gave no reason"
        words = words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"
        return PackagesNotResolved(
            f"The packages cannot be installed: {words.rstrip('.')}. Correct names and versions in "
            "spec.runtime; only wheels for the image's Python are taken, and what the image has stays."
        )

    def _unavailable(self, url: str, why: str) -> PackageIndexUnavailable:
        secret = self._packages.credentials_secret
        if _DENIED.search(why):
            what = f"correct Secret {secret}" if secret else "it may need a credentialsSecret: see the pool"
            return PackageIndexUnavailable(f"The package index refuses {url} ({why[:120]}): {what}.")
        return PackageIndexUnavailable(
            f"The package index does not answer at {url}: {why[:200].rstrip('.')}. Ask the pool's "
            "administrator whether it is up, can be reached from the pods, and has a certificate they trust."
        )

    def _masked(self, text: str) -> str:
        if self._password:
            text = text.replace(self._password, "****")
        return re.sub(r"//[^/@\s]+@", "//****@", text)


def _complaint(said: Sequence[str]) -> str:
    """Return pip's error, with what it lists as the conflict, and without its hints."""
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    conflict: list[str] = []
    if "The conflict is caused by:" in said:
        after = said[said.index("The conflict is caused by:") + 1 :]
        conflict = [line.strip() for line in after if line.startswith("    ")]
    return "; ".join([*errors[:1], *conflict])


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
