"""Kubeconfig files: where the API server is, whom to trust, who one is."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tools.cluster.certificates import Pair


def with_token(server: str, authority: Path, token: str, *, name: str = "mlpools") -> str:
    """A kubeconfig for whoever holds `token`. JSON, which every YAML parser reads."""
    return _render(server, authority, name, {"token": token})


def with_certificate(server: str, authority: Path, pair: Pair) -> str:
    """A kubeconfig for the holder of a client certificate."""
    user = {"client-certificate-data": _data(pair.certificate), "client-key-data": _data(pair.key)}
    return _render(server, authority, "mlpools", user)


def write(path: Path, text: str) -> Path:
    """Write a kubeconfig that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _render(server: str, authority: Path, name: str, user: dict[str, Any]) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": _data(authority)}}
        ],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(config, indent=2) + "\n"


def server_of(path: Path) -> str:
    """The server that a kubeconfig of ours names."""
    server: str = json.loads(path.read_text())["clusters"][0]["cluster"]["server"]
    return server
