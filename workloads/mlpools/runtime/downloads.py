"""Downloads of wheels as the files that they are: uv keeps none, since it unpacks what it downloads."""

from __future__ import annotations

import hashlib
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from mlpools.errors import one_line
from mlpools.runtime.pinned import Wheel
from mlpools.train.reporter import log

_TIMEOUT_SECONDS = 30.0
_CHUNK = 1 << 20


class Downloads:
    """Downloads wheels, with what the index asks for."""

    def __init__(self, index_url: str, user: str, password: str, authorities: Path | None) -> None:
        """Prepare.

        Args:
            index_url: whose host, and no other, is told the password.
            user: empty without credentials.
            password: for that user.
            authorities: file with the certificates that are trusted; None: the image's.
        """
        trusted = ssl.create_default_context(cafile=str(authorities) if authorities else None)
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=trusted)]
        if user:
            # What is added in this way is left out where the index redirects to another host.
            known = urllib.request.HTTPPasswordMgrWithPriorAuth()
            host = urlsplit(index_url)
            known.add_password(None, f"{host.scheme}://{host.netloc}/", user, password, is_authenticated=True)
            handlers.append(urllib.request.HTTPBasicAuthHandler(known))
        self._opener = urllib.request.build_opener(*handlers)

    def fetch(self, wheel: Wheel, target: Path) -> bool:
        """Download a wheel and say whether it is there now, and the one that was resolved.

        If not, the log says why. That is no failure: whoever needs it can still get it from the index.
        """
        checksum = hashlib.sha256()
        try:
            with self._opener.open(wheel.url, timeout=_TIMEOUT_SECONDS) as answer, target.open("wb") as file:
                while chunk := answer.read(_CHUNK):
                    checksum.update(chunk)
                    file.write(chunk)
            if checksum.hexdigest() == wheel.sha256:
                return True
            log(f"{wheel.file} is not kept in the pool's cache: the index has another file by that name now")
        except OSError as error:
            log(f"{wheel.file} is not kept in the pool's cache: {one_line(error)}")
        target.unlink(missing_ok=True)
        return False
