"""Plain reads of an API server: quicker than kubectl, for asking whether all is well."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Api:
    """An API server as its administrator.

    Attributes:
        server: Its URL.
        authority: The certificate of its authority.
        token: The administrator's token.
    """

    server: str
    authority: Path
    token: str

    def get(self, path: str, *, timeout: float = 5) -> str:
        """The body of a GET.

        Raises:
            OSError: the server is not there, or refuses.
        """
        request = urllib.request.Request(
            f"{self.server}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        context = ssl.create_default_context(cafile=str(self.authority))
        # No proxy: the address is this machine's own.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=timeout) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                raise OSError(f"{path} answers {error.code}") from None

    def object(self, path: str) -> dict[str, Any]:
        """One object or a list, for example `/api/v1/nodes/node1`."""
        found: dict[str, Any] = json.loads(self.get(path))
        return found

    def not_ready(self, path: str = "/readyz") -> str | None:
        """Why the server does not answer well yet; None when it does."""
        try:
            self.get(path)
        except OSError as error:
            return str(error)
        return None
