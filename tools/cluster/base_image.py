"""A small image that needs no registry: busybox, packed as an OCI archive.

It holds a pod's namespaces open (its command sleeps), makes folders for volumes, and serves tests
that need a shell, `wget` or `nslookup` in a pod (there, `timeout 3 wget`: its own `-T` crashes on names).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tools.locks import locked
from tools.steps import ToolError, cache_dir, step

IMAGE = "localhost/mlpools-busybox:1"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def busybox() -> Path:
    """A statically linked busybox, from the distribution's package.

    Unpacked, not installed: that would conflict with the dynamic one that many systems have.
    """
    folder = cache_dir() / "busybox"
    program = folder / "bin" / "busybox"
    with locked(folder):
        if not program.exists():
            with step("fetching busybox"), tempfile.TemporaryDirectory(dir=folder) as aside:
                _run(["apt-get", "download", "busybox-static"], aside)
                (package,) = Path(aside).glob("*.deb")
                _run(["dpkg-deb", "--extract", str(package), "."], aside)
                program.parent.mkdir(exist_ok=True)
                (Path(aside) / "bin" / "busybox").replace(program)
    return program


def archive() -> Path:
    """The image's OCI archive, made where there is none."""
    program = busybox()
    path = program.with_name("image.tar")
    with locked(program.parent):
        if not path.exists():
            applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
            aside = path.with_suffix(".aside")
            write_archive(aside, program.read_bytes(), applets.stdout.split())
            aside.replace(path)
    return path


def write_archive(path: Path, program: bytes, applets: list[str]) -> None:
    """Write the image as an OCI archive: the same input gives the same bytes."""
    layer = _layer(program, applets)
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    config = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {"Cmd": ["sleep", "infinity"], "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(_json(config), "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(gzip.compress(layer, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")],
    }
    described = blob(_json(manifest), "application/vnd.oci.image.manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": IMAGE}
    index = {"schemaVersion": 2, "manifests": [described]}
    with tarfile.open(path, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json(index))
        for digest, content in blobs.items():
            _add(tar, f"blobs/sha256/{digest}", content)


def _layer(program: bytes, applets: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        _add(tar, "bin/busybox", program, 0o755)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        for applet in sorted(set(applets) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _run(command: list[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        raise ToolError(f"{' '.join(command)} failed: {last} (has apt-get update been run?)")
