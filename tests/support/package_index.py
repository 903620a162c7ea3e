"""A package index on this machine: tiny wheels, served as installers ask for them."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import ssl
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def wheel(
    folder: Path, name: str, version: str, needs: Sequence[str] = (), module: str = "", text: str = ""
) -> None:
    """Build a wheel that brings one module, whose ``version`` tells which one was installed."""
    page = folder / name.lower().replace("_", "-")
    page.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {it}\n" for it in needs)
    with zipfile.ZipFile(page / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{module or name}.py", text or f"version = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}"
        )
        tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")


@functools.cache
def sha256(wheel: Path, changed: int) -> str:
    """Return a wheel's checksum; ``changed`` is when it was written last."""
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def metadata(wheel: Path) -> bytes:
    """Return what a wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [it for it in archive.namelist() if it.endswith(".dist-info/METADATA")]
        return archive.read(name)


class PackageIndex:
    """Serves the wheels of a folder. Use it as a context manager.

    It tells their checksums, and what they need on a page beside each (PEP 658), as the public index does. A
    ``plain`` one has nothing but the wheels.

    Attributes:
        asked: paths of all requests.
    """

    def __init__(
        self,
        folder: Path,
        user: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        plain: bool = False,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.asked: list[str] = []
        self._plain = plain
        self._login = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
        self._server = http.server.ThreadingHTTPServer((host, 0), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://{host}:{self._server.server_address[1]}/simple"

    def wheel(self, name: str, version: str, needs: Sequence[str] = (), **content: str) -> None:
        wheel(self.folder, name, version, needs, **content)

    def _page(self, folder: Path) -> bytes:
        links = ""
        for file in sorted(folder.iterdir()):
            checksum = sha256(file, file.stat().st_mtime_ns)
            told = "" if self._plain else f'#sha256={checksum}" data-core-metadata="true'
            links += f'<a href="{file.name}{told}">{file.name}</a>\n'
        return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

    def __enter__(self) -> PackageIndex:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                if index._login and self.headers.get("Authorization") != index._login:
                    return self._answer(401, b"", ("WWW-Authenticate", 'Basic realm="index"'))
                path = index.folder / self.path.removeprefix("/simple").strip("/")
                if path.is_file():
                    return self._answer(200, path.read_bytes())
                if path.suffix == ".metadata" and path.with_suffix("").is_file():
                    return self._answer(200, metadata(path.with_suffix("")))
                if not path.is_dir():
                    return self._answer(404, b"")
                return self._answer(200, index._page(path), ("Content-Type", "text/html"))

            def _answer(self, code: int, body: bytes, *headers: tuple[str, str]) -> None:
                self.send_response(code)
                for name, value in (*headers, ("Content-Length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing: the tests read ``asked``."""

        return Handler
