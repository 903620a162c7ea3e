"""The few requests that the tools themselves make of an API server."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.binaries import binary
from tools.steps import ToolError


@dataclass(frozen=True)
class Api:
    """An API server as its administrator.

    Attributes:
        server: Its URL.
        authority: The certificate of its authority.
        token: The administrator's token.
        kubeconfig: The same three for kubectl.
    """

    server: str
    authority: Path
    token: str
    kubeconfig: Path

    def get(self, path: str, *, timeout: float = 5) -> str:
        """The body of a GET.

        Raises:
            OSError: the server is not there, or refuses (`urllib.error.HTTPError`).
        """
        request = urllib.request.Request(
            f"{self.server}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        context = ssl.create_default_context(cafile=str(self.authority))
        # No proxy: the address is this machine's own.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=timeout) as response:
            return str(response.read().decode())

    def objects(self, path: str) -> list[dict[str, Any]]:
        """The items of a list, for example of `/api/v1/nodes`."""
        items: list[dict[str, Any]] = json.loads(self.get(path))["items"]
        return items

    def not_ready(self, path: str = "/readyz") -> str | None:
        """Why the server does not answer well yet; None when it does."""
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            with error:
                return f"{path} answers {error.code}"
        except OSError as error:
            return str(error)
        return None

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints.

        Raises:
            ToolError: kubectl failed; with its own words.
        """
        done = subprocess.run(
            [binary("kubectl"), "--kubeconfig", self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ToolError(f"kubectl {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def apply(self, manifests: Iterable[dict[str, Any]]) -> None:
        """Server-side apply."""
        objects = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl(
            "apply", "--server-side", "--force-conflicts", "--field-manager=mlpools-local", "-f", "-",
            stdin=json.dumps(objects),
        )  # fmt: skip

    def token_for(self, service_account: str, namespace: str = "default", *, duration: str = "24h") -> str:
        """A token of a ServiceAccount, as its pods would have it."""
        return self.kubectl(
            "create", "token", service_account, "-n", namespace, f"--duration={duration}"
        ).strip()
