"""Who may enter JupyterLab: whoever has the token that stands in a file now.

The file is a mounted Secret. It is read at each login and each request with a token, so a Secret that was
made anew holds without a restart; who is logged in stays so, by a signed cookie.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

from jupyter_server.auth.identity import IdentityProvider, User
from traitlets import Unicode, default


class TokenFile(IdentityProvider):  # type: ignore[misc]
    """Jupyter's own way of logging in, with the token from a file."""

    path = Unicode(help="File with the token.").tag(config=True)

    @default("token")  # type: ignore[untyped-decorator]
    def _token_default(self) -> str:
        # The base class would make one up and print it, which opens nothing.
        return self._in_file()

    async def get_user(self, handler: Any) -> User | None:
        """Return who makes a request, None if nobody is logged in."""
        self.token = self._in_file()
        return await super()._get_user(handler)

    def process_login_form(self, handler: Any) -> User | None:
        """Return who has just logged in, None if the token is wrong."""
        self.token = self._in_file()
        # The base class calls a method here that it does not have (jupyter_server 2.21).
        typed = str(handler.get_argument("password", default=""))
        fits = bool(self.token) and hmac.compare_digest(typed.encode(), self.token.encode())
        return self.generate_anonymous_user(handler) if fits else None

    def _in_file(self) -> str:
        # Without a token nobody gets in: unlike Jupyter's default, this class never lets in everybody then.
        try:
            return Path(self.path).read_text(encoding="utf-8").strip()
        except OSError:
            return ""
