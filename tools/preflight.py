"""What a machine must have to run the local cluster, all of it said at once.

    python -m tools.preflight             # say what stands in the way, install the packages that are missing
    python -m tools.preflight browser     # and the browser of some tests

Debian 12 and later and Ubuntu 22.04 and later on amd64 are meant; cgroup v1 was run, v2 was not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.cluster import cgroups
from tools.cluster.node_files import CNI_PLUGINS
from tools.steps import ToolError, cache_dir, last_line, step, told

# A program or file that is looked for, and the package of Debian and Ubuntu that has it.
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "tini": "tini",
    "openssl": "openssl",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    str(CNI_PLUGINS / "ptp"): "containernetworking-plugins",
}
#: What only some end-to-end tests need; Ubuntu has it as a snap only.
BROWSER = {"chromium": "chromium"}
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
MEMORY_GIB = 8
# The first run fills the caches.
DISK_GIB, LATER_DISK_GIB = 25, 5
APT_OPTIONS = ("-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
POLICY = Path("/usr/sbin/policy-rc.d")


def can_run_cluster() -> str | None:
    """Why the local cluster cannot run here, in one line; None when it can.

    Packages that `install` would bring are no obstacle.
    """
    problems = obstacles()
    return f"The local cluster cannot run on this machine: {'; '.join(problems)}." if problems else None


def obstacles() -> list[str]:
    """Everything that stands in the way and that `install` cannot mend."""
    if not sys.platform.startswith("linux"):
        return [f"it needs Linux, this is {sys.platform}"]
    problems = []
    if missing := missing_capabilities(Path("/proc/self/status").read_text()):
        problems.append(
            f"it needs root ({', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing)"
        )
    elif not _cgroups_writable():
        problems.append(f"{cgroups.ROOT} is read-only")
    if not _has_overlay():
        problems.append("the kernel has no overlay file system")
    memory = _memory_gib()
    if memory < MEMORY_GIB * 0.9:  # what the kernel keeps for itself does not count
        problems.append(f"it has {memory:.0f} GiB of memory, {MEMORY_GIB} are needed")
    disk, needed = _disk_gib(), LATER_DISK_GIB if (cache_dir() / "bin").exists() else DISK_GIB
    if disk < needed:
        problems.append(f"{disk:.0f} GiB of disk are free, {needed} are needed")
    if (packages := missing_packages()) and shutil.which("apt-get") is None:
        problems.append(f"there is no apt-get to install {', '.join(packages)}")
    return problems


def missing_packages(wanted: Mapping[str, str] = PACKAGES) -> list[str]:
    """Packages whose programs are not here."""
    return sorted({package for found, package in wanted.items() if shutil.which(found) is None})


def install(wanted: Mapping[str, str] = PACKAGES) -> None:
    """Install what is missing; no service is started, no package removed.

    Args:
        wanted: programs and files, and the packages that have them.

    Raises:
        ToolError: a package would have to be removed for it, or apt-get failed.
    """
    packages = missing_packages(wanted)
    if not packages:
        return
    with step(f"installing {', '.join(packages)}"), _no_services():
        _apt("update", "-q")
        plan = _apt("install", "--simulate", *APT_OPTIONS, *packages)
        if removed := removals(plan):
            raise ToolError(
                f"Installing {', '.join(packages)} would remove {', '.join(removed)} from this machine. "
                "Use another machine, or a cluster that you have (make run CONTEXT=name)."
            )
        _apt("install", "--no-remove", *APT_OPTIONS, *packages)


def removals(plan: str) -> list[str]:
    """The packages that a simulated run of apt-get would remove."""
    return re.findall(r"^Remv (\S+)", plan, re.M)


def missing_capabilities(status: str) -> list[str]:
    """What a process may not do, by its `/proc/PID/status`."""
    held = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.M)
    effective = int(held[1], 16) if held else 0
    return [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]


def _apt(*arguments: str) -> str:
    log = cache_dir() / "apt.log"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with log.open("w") as out:
        done = subprocess.run(
            ["apt-get", *arguments], stdout=out, stderr=subprocess.STDOUT, env=environment, check=False
        )
    if done.returncode:
        raise ToolError(f"apt-get {arguments[0]} failed: {last_line(log)} (log: {log})")
    return log.read_text()


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep what is installed from being started: invoke-rc.d asks this file first."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def _cgroups_writable() -> bool:
    probe = cgroups.hierarchies()[0] / f"mlp-preflight-{os.getpid()}"
    try:
        probe.mkdir()
    except OSError:
        return False
    probe.rmdir()
    return True


def _has_overlay() -> bool:
    """Whether the kernel has it, or can load it (`modprobe` needs root and says nothing here)."""
    known = Path("/proc/filesystems")
    if "overlay" not in known.read_text().split() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "overlay"], capture_output=True, check=False)
    return "overlay" in known.read_text().split()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _disk_gib() -> float:
    return shutil.disk_usage(cache_dir()).free / 2**30


def main(arguments: Sequence[str]) -> int:
    """Say what stands in the way; where nothing does, install what is missing."""
    if obstacle := can_run_cluster():
        print(f"  - {obstacle}")
        return 0  # all but the cluster works here
    with told():
        install(PACKAGES | BROWSER if "browser" in arguments else PACKAGES)
    print("  ✓ this machine can run the local cluster")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
