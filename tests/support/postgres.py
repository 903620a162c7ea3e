"""A real PostgreSQL server of this test run alone: its own folder, socket, port and user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from tests.support.pods import free_ports
from tests.support.waiting import PATIENCE, wait_for
from tools.postgres import programs

USER, PASSWORD = "mlpools", "s3cr:et/pässword%41"
_TRIES = 5


class Postgres:
    """A server on one address and on a socket in its folder; it asks for a password and offers TLS.

    PostgreSQL refuses to run as root, so there it runs as ``nobody``.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        # Below /tmp: the name of a socket has room for 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="mlpools-pg-", dir="/tmp"))
        self._data = self.folder / "data"
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        if self._account:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        (self.folder / "password").write_text(PASSWORD)
        command = ["initdb", "--pgdata", str(self._data), "--username", USER, "--encoding=UTF8", "--no-sync"]
        secured = ["--auth=scram-sha-256", "--pwfile", str(self.folder / "password"), "--locale=C.UTF-8"]
        self._run([*command, *secured])
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        self._make_certificate()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    @property
    def ca(self) -> Path:
        """The certificate to trust, of the name ``localhost``."""
        return self._data / "server.crt"

    def uri(
        self, *, user: str = USER, password: str = PASSWORD, database: str = "postgres", **more: str
    ) -> str:
        """The address with user and password; ``more`` are parameters of libpq."""
        query = f"?{urlencode(more)}" if more else ""
        return f"postgresql://{user}:{quote(password, safe='')}@{self.address}:{self.port}/{database}{query}"

    def start(self) -> None:
        """Start the server on a free port; another program may take that one first."""
        for _ in range(_TRIES):
            self.port = self.port or free_ports(1)[0]
            self._process = self._spawn()
            if wait_for("PostgreSQL that starts or ends", self._state) == "ready":
                return
            self.port = 0
        raise AssertionError((self.folder / "log").read_text())

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends connections, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each committed at once; return the rows of the last one."""
        import adbc_driver_postgresql.dbapi as dbapi

        with dbapi.connect(self.uri(), autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _state(self) -> str | None:
        assert self._process is not None
        if self._process.poll() is not None:
            return "ended"
        return "ready" if "ready to accept" in (self.folder / "log").read_text() else None

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {
            "listen_addresses": self.address,
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "ssl": "on",
            "shared_buffers": "32MB",
        }
        command = ["postgres", "-D", str(self._data), "-p", str(self.port)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(self._full(command), stdout=log, stderr=log, **self._identity())

    def _make_certificate(self) -> None:
        key, certificate = self._data / "server.key", self._data / "server.crt"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
        more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command, *more], check=True, capture_output=True, **self._identity())
        key.chmod(0o600)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(self._full(command), capture_output=True, text=True, **self._identity())
        assert done.returncode == 0, done.stderr

    def _full(self, command: list[str]) -> list[str]:
        return [str(programs().folder / command[0]), *command[1:]]

    def _identity(self) -> dict[str, Any]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        if programs().libraries:
            environment["LD_LIBRARY_PATH"] = programs().libraries
        identity = {"user": self._account.pw_uid, "group": self._account.pw_gid} if self._account else {}
        return {"env": environment, "cwd": str(self.folder), **identity}
