"""A real S3 server: versitygw over a folder, with a port and credentials of its own."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from pathlib import Path

from tests.support.waiting import wait_for
from tools.binaries import binary


class S3Server:
    """Serves the folders below ``folder/buckets`` as buckets. Use it as a context manager.

    Attributes:
        url: of its end point.
        access_key: of the only account.
        secret_key: of the only account.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        """Prepare a server.

        Args:
            folder: for everything that it writes; its file system needs extended attributes.
            address: on which it listens.
        """
        self._folder = folder
        self._address = address
        with socket.socket() as free:
            free.bind((address, 0))
            self._port = free.getsockname()[1]
        self.url = f"http://{address}:{self._port}"
        self.access_key = secrets.token_hex(8)
        self.secret_key = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """Return the variables with which a client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> Path:
        """Make a bucket and return its folder, in which objects are files."""
        path = self._folder / "buckets" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def __enter__(self) -> S3Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the program, and wait until it answers."""
        (self._folder / "buckets").mkdir(parents=True, exist_ok=True)
        account = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        listen = f"{self._address}:{self._port}"
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary("versitygw"), "--quiet", "--port", listen, "posix", self._folder / "buckets"],
                env={**os.environ, **account},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for("answer of the S3 server", self._answers)

    def kill(self) -> None:
        """End the program as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "server.log").read_text()
        try:
            socket.create_connection((self._address, self._port), timeout=1).close()
        except OSError:
            return False
        return True
