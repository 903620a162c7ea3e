"""The first contact with an end point that somebody named: whether anybody listens there is told soon.

A store that is overloaded is asked for as long as patience goes. An address with a slip in it stays as it is.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

#: Seconds in which a name has to be known and a connection made. Network policies and the DNS of a pod that
#: just started take some.
SECONDS = 15.0
_PAUSE = 0.5
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class NobodyThereError(OSError):
    """Nobody listens at an address.

    Attributes:
        seconds: for how long it was tried.
    """

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__(f"nobody listens at {url}")
        self.seconds = seconds


def meet(url: str, seconds: float, environ: Mapping[str, str] = os.environ) -> None:
    """Wait until somebody listens at a URL's host and port; nothing is sent.

    Behind a proxy the host cannot be asked, and nothing is done.

    Args:
        url: of an end point.
        seconds: how long to try.
        environ: may name a proxy.

    Raises:
        NobodyThereError: nobody did in this time.
    """
    parts = urlsplit(url)
    if not parts.hostname or any(environ.get(name) or environ.get(name.upper()) for name in _PROXIES):
        return
    address = (parts.hostname, parts.port or (80 if parts.scheme == "http" else 443))
    until = time.monotonic() + seconds
    while True:
        left = until - time.monotonic()
        try:
            socket.create_connection(address, timeout=max(_PAUSE, left)).close()
        except OSError as error:
            if left <= _PAUSE:
                raise NobodyThereError(url, seconds) from error
            time.sleep(_PAUSE)
        else:
            return
