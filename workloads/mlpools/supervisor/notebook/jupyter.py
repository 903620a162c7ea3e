"""JupyterLab: how it is started, and what it says of its kernels, terminals and open documents."""

from __future__ import annotations

import datetime
import http.client
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlpools.contract.tasks import Notebook

_TIMEOUT_SECONDS = 2.0
#: A look at a kernel is none of its use: without this Jupyter would count it.
_UNTRACKED = "no_track_activity=1"


class Account(NamedTuple):
    """What JupyterLab says of itself.

    Attributes:
        busy: a kernel runs a cell.
        used: seconds since the epoch when a kernel or terminal was last used; 0 if none ever was.
        edited: the same of the last change of an open document.
    """

    busy: bool
    used: float
    edited: float


def command(task: Notebook, workspace: Path, token_file: Path) -> list[str]:
    """Return how JupyterLab is started.

    Args:
        task: of the notebook.
        workspace: its files.
        token_file: read at each login.
    """
    settings = {
        "ServerApp.ip": "",  # all addresses, of both families
        "ServerApp.port": task.port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": workspace,
        "ServerApp.base_url": "/",
        "ServerApp.trust_xheaders": True,
        "ServerApp.allow_remote_access": True,
        "ServerApp.quit_button": False,
        "ServerApp.identity_provider_class": "mlpools.notebook.identity.TokenFile",
        "TokenFile.path": token_file,
        # Nothing is asked of the world outside, where there may be no way to.
        "LabApp.news_url": "None",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
        "FileContentsManager.delete_to_trash": False,
        # A login shell, Jupyter's default, would set a PATH without our commands and our Python.
        "ServerApp.terminado_settings": f"shell_command={_shell()}",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "mlpools.notebook.lab", *options, *task.args]


def _shell() -> str:
    return os.environ.get("SHELL") or shutil.which("bash") or "/bin/sh"


def account(port: int, token: str, workspace: Path) -> Account:
    """Ask JupyterLab.

    Args:
        port: where it serves.
        token: that opens it.
        workspace: its files.

    Raises:
        OSError: it does not answer.
        ValueError: what answers is not JupyterLab.
    """
    kernels = _ask(port, token, "/api/kernels")
    terminals = _ask(port, token, "/api/terminals")
    sessions = _ask(port, token, "/api/sessions")
    times = [_seconds(item.get("last_activity")) for item in (*kernels, *terminals)]
    return Account(
        busy=any(kernel.get("execution_state") == "busy" for kernel in kernels),
        used=max(times, default=0.0),
        edited=max(_changes(sessions, workspace), default=0.0),
    )


def _changes(sessions: list[dict[str, Any]], workspace: Path) -> Iterator[float]:
    """Yield when each open document was saved last: JupyterLab saves by itself what somebody edits."""
    for session in sessions:
        try:
            yield (workspace / str(session.get("path", ""))).stat().st_mtime
        except OSError:
            continue


def _ask(port: int, token: str, path: str) -> list[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"{path}?{_UNTRACKED}", headers={"Authorization": f"token {token}"})
        answer = connection.getresponse()
        body = answer.read()
    except http.client.HTTPException as error:
        raise ValueError(f"what answers at port {port} does not speak HTTP") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ValueError(f"{path} was answered by {answer.status}")
    found = json.loads(body)
    if not isinstance(found, list):
        raise ValueError(f"{path} was not answered by a list")
    return [item for item in found if isinstance(item, dict)]


def _seconds(text: object) -> float:
    try:
        return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
