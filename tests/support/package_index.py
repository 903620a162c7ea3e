"""A package index on this machine: tiny wheels, served as pip asks for them."""

from __future__ import annotations

import base64
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


class PackageIndex:
    """Serves the wheels of a folder. Use it as a context manager.

    Attributes:
        asked: paths of all requests.
        broken: whether every request is answered with 503.
    """

    def __init__(
        self, folder: Path, user: str = "", password: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.asked: list[str] = []
        self.broken = False
        self._login = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}/simple"

    def wheel(self, name: str, version: str, needs: Sequence[str] = (), **content: str) -> None:
        wheel(self.folder, name, version, needs, **content)

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
                if index.broken:
                    return self._answer(503, b"")
                if index._login and self.headers.get("Authorization") != index._login:
                    return self._answer(401, b"", ("WWW-Authenticate", 'Basic realm="index"'))
                path = index.folder / self.path.removeprefix("/simple").strip("/")
                if path.is_file():
                    return self._answer(200, path.read_bytes())
                if not path.is_dir():
                    return self._answer(404, b"")
                links = "".join(f'<a href="{it.name}">{it.name}</a>\n' for it in sorted(path.iterdir()))
                page = f"<!DOCTYPE html><html><body>{links}</body></html>"
                return self._answer(200, page.encode(), ("Content-Type", "text/html"))

            def _answer(self, code: int, body: bytes, *headers: tuple[str, str]) -> None:
                self.send_response(code)
                for name, value in (*headers, ("Content-Length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing: the tests read ``asked``."""

        return Handler
