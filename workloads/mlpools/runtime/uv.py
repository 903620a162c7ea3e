"""uv, the program that resolves and installs packages: how it is run, and what its failures mean.

It runs apart from what the job's environment says about it: its options are ours alone, so that no
``UV_INDEX_URL`` leads past the pool's index. A password reaches it in a variable of its own, never in an
argument, and is masked in all that it says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlpools.contract.tasks import Packages
from mlpools.contract.wiring import INJECTED_ENV
from mlpools.errors import PackageIndexUnavailable, PackagesNotResolved, one_line

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_SYSTEM = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
#: Variables of the pod that uv may see: where the network begins, and no option of uv's.
_PASSED_ON = (*_SYSTEM, *_PROXIES, *(name.upper() for name in _PROXIES))
_OPTIONS = {
    "UV_NO_CONFIG": "1",
    "UV_NO_BUILD": "1",
    "UV_NO_PROGRESS": "1",
    "UV_NO_WRAP": "1",
    "NO_COLOR": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_KEYRING_PROVIDER": "disabled",
    "UV_SYSTEM_CERTS": "1",
    "UV_HTTP_TIMEOUT": "15",
    "UV_HTTP_RETRIES": "3",
}
_LIMIT_SECONDS = 1800.0
_SHOWN = 400
_NO_SOLUTION = "No solution found when resolving dependencies"
PROGRAM = "uv"

#: An index that lets nobody in counts for uv as one that has nothing; it says so in a hint.
_DENIED = re.compile(r"An index URL \((?P<url>\S+)\) could not be queried .*\((?P<why>40[13] [^)]*)\)")
#: A page that is not there (404) is an answer; all of this is an index out of reach.
_BROKEN = re.compile(
    r"Failed to fetch|error sending request|Request failed after|error decoding response body|timed out"
)


class Uv:
    """Runs commands of uv for the Python that this process runs in."""

    def __init__(
        self, work: Path, packages: Packages, password: str = "", variables: Mapping[str, str] | None = None
    ) -> None:
        """Look where uv is.

        Args:
            work: folder for what uv needs meanwhile, on the disk that packages are installed on: from the one
                place to the other it links files and copies none.
            packages: says what the index is called, and which Secret is for it.
            password: that is masked.
            variables: more of them, for uv alone.

        Raises:
            PackagesNotResolved: there is no uv.
        """
        program = find()
        if program is None:
            raise PackagesNotResolved(
                "Packages are installed by uv, which neither this image has nor the pool's: use an image "
                "that has uv, or one that has the packages."
            )
        self._program, self._packages, self._password, self._work = program, packages, password, work
        self._environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        own = {"HOME": str(work), "UV_CACHE_DIR": str(work / "cache")}
        self._environ |= {**_OPTIONS, **own, **(variables or {})}

    def run(self, command: str, *arguments: str) -> None:
        """Run a command of ``uv pip``; what it says goes to the log of the job.

        Raises:
            PackagesNotResolved: it says that the job's wishes cannot be met.
            PackageIndexUnavailable: it could not ask.
        """
        try:
            process = subprocess.Popen(
                [self._program, "pip", command, "--python", sys.executable, *arguments],
                env=self._environ,
                cwd=self._work,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise PackagesNotResolved(
                f"Packages are installed by uv, which does not run in this image ({one_line(error)}): use an "
                "image with glibc, or one that has the packages."
            ) from error
        timer = threading.Timer(_LIMIT_SECONDS, process.kill)
        timer.start()
        said = []
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                said.append(self._masked(line.rstrip()))
                print(said[-1], flush=True)  # noqa: T201 - into the log, where a person looks for it
        code = process.wait()
        expired = timer.finished.is_set()
        timer.cancel()
        if expired:
            raise PackageIndexUnavailable(
                f"Packages from {_index(self._packages)} were not there after {_LIMIT_SECONDS / 60:.0f} "
                "minutes. Ask the pool's administrator whether the index is slow, or for an image with them."
            )
        if code != 0:
            raise failure(said, self._packages)

    def _masked(self, text: str) -> str:
        if self._password:
            text = text.replace(self._password, "****")
        return re.sub(r"//[^/@\s]+@", "//****@", text)


def find() -> str | None:
    """Return the path of uv: that which came with mlpools into the pod, that of this Python, or any."""
    brought = Path(os.environ[INJECTED_ENV]).parent if INJECTED_ENV in os.environ else ""
    places = (str(brought), sysconfig.get_path("scripts"), os.environ.get("PATH", ""))
    return shutil.which(PROGRAM, path=os.pathsep.join(filter(None, places)))


def failure(said: Sequence[str], packages: Packages) -> PackagesNotResolved | PackageIndexUnavailable:
    """Tell by uv's words whether the index or the job is at fault: its exit code does not.

    Args:
        said: its lines.
        packages: says what the index is called, and which Secret is for it.
    """
    text = "\n".join(said)
    denied, broken = _DENIED.search(text), _BROKEN.search(text)
    if denied:
        secret = packages.credentials_secret
        what = f"correct Secret {secret}" if secret else "it may need a credentialsSecret: see the pool"
        return PackageIndexUnavailable(
            f"The package index refuses {denied['url']} ({denied['why']}): {what}."
        )
    words = _complaint(said) or "uv gave no reason"
    words = words.rstrip(".") if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"
    if broken:
        return PackageIndexUnavailable(
            f"The package index {_index(packages)} does not answer: {words}. Ask the pool's administrator "
            "whether it is up, can be reached from the pods, and has a certificate that they trust."
        )
    return PackagesNotResolved(
        f"The packages cannot be installed: {words}. Correct names and versions; only wheels for the "
        "image's Python are taken, and what the image has stays."
    )


def _complaint(said: Sequence[str]) -> str:
    """Return uv's error with its causes, and without its hints, which name options of uv's."""
    start = next((at for at, line in enumerate(said) if line.startswith("error: ")), len(said))
    end = next((at for at, line in enumerate(said) if at > start and line.startswith("hint: ")), len(said))
    lines = (line.strip().removeprefix("error: ").removeprefix("cause: ") for line in said[start:end])
    return " ".join(line for line in lines if line and line != _NO_SOLUTION)


def _index(packages: Packages) -> str:
    return packages.index_url or "the public index"
