"""What went wrong at a store, as one sentence: what, where, which credentials, what to do.

A library's own message is not shown as it is: it has addresses with signatures and pages of details in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from mlpools.errors import DataNotReadable, JobError, OutputNotWritable
from mlpools.storage import credentials
from mlpools.storage.client import endpoint, patience
from mlpools.storage.contact import NobodyThereError
from mlpools.storage.urls import Address

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_NO_CREDENTIALS = ("Missing AccessKeyId", "Missing SecretAccessKey", "token request", "169.254.169.254")
_UNREACHABLE = ("error sending request", "kind: Connect", "dns error", "kind: Timeout")
_LINE_BREAKS = ("body error", "kind: Interrupted", "kind: Decode", "IncompleteMessage", "kind: Timeout")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_EXPIRED = "ExpiredToken"
_BUSY = {429, 500, 502, 503, 504}


class FileMissing(DataNotReadable, FileNotFoundError):  # noqa: N818 - as its neighbours in mlpools.errors
    """What was to be read is not there."""


class CredentialsExpired(DataNotReadable):
    """What was to be read is refused, and so is everything else of this store."""


def broken_off(error: Exception) -> bool:
    """Whether a connection broke, so that asking once more for the rest makes sense."""
    return type(error).__name__ == "GenericError" and any(words in str(error) for words in _LINE_BREAKS)


def precondition_failed(error: Exception) -> bool:
    """Whether the store says that the object is another one than was asked for."""
    return type(error).__name__ == "PreconditionError" or _status(error) == 412


def already_there(error: Exception) -> bool:
    """Whether a write of a new object met an object."""
    return type(error).__name__ == "AlreadyExistsError"


def not_there(error: Exception) -> bool:
    """Whether the object is not there; a bucket that is not there is another thing."""
    return isinstance(error, FileNotFoundError) and _code(error) not in _NO_BUCKET


def replaced(url: str) -> DataNotReadable:
    """Return the failure of a reader whose object is another one now."""
    return DataNotReadable(f"{url} was replaced since it was listed. Write new data to new files.")


def refused(error: Exception) -> bool:
    """Whether the store understood the request and will not do it; a missing object is another thing."""
    return not isinstance(error, FileNotFoundError) and 400 <= _status(error) < 500


def reading(error: Exception, address: Address, environ: Mapping[str, str] = os.environ) -> JobError:
    """Return the failure of a read or a listing."""
    url = address.url_of(address.key)
    if not_there(error):
        return FileMissing(f"{url} is not there; check its spelling.")
    if precondition_failed(error):
        return replaced(url)
    kind = CredentialsExpired if _code(error) == _EXPIRED else DataNotReadable
    return kind(f"{url} cannot be read: {_cause(error, address, environ)}")


def writing(error: Exception, address: Address, environ: Mapping[str, str] = os.environ) -> JobError:
    """Return the failure of a write or a deletion."""
    return OutputNotWritable(
        f"{address.url_of(address.key)} cannot be written: {_cause(error, address, environ)}"
    )


def _cause(error: Exception, address: Address, environ: Mapping[str, str]) -> str:
    text, code, status = str(error), _code(error), _status(error)
    used = credentials.source(address.kind, environ)
    if code in _NO_BUCKET:
        return f"there is no {address.root}{_at_endpoint(address, environ)}. Make it, or check its name."
    if code in ("RequestTimeTooSkewed", _EXPIRED):
        return _about_time(code, used)
    if any(words in text for words in _NO_CREDENTIALS):
        return f"there are no credentials; tried was {used}. {credentials.how_to_give(address.kind)}"
    if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or status in (401, 403):
        said = f" ({code})" if code else ""
        return f"the store refuses access{said} to {used}. {credentials.how_to_give(address.kind)}"
    if "without LOCATION" in text or code in ("PermanentRedirect", "AuthorizationHeaderMalformed"):
        return "the bucket is in another region. Set AWS_REGION to the region that it is in."
    if status in _BUSY:
        said = f"{status} {code}".strip()
        return (
            f"the store was asked for {patience(environ):.0f} seconds and answered {said} each time. "
            "Try again later; fewer nodes read more gently."
        )
    seconds = error.seconds if isinstance(error, NobodyThereError) else 0.0
    if seconds or any(words in text for words in _UNREACHABLE) or broken_off(error):
        return (
            f"nobody answers for {seconds or patience(environ):.0f} seconds{_at_endpoint(address, environ)}. "
            "Check the address, the DNS and the network policies."
        )
    return _short(text, status, code)


def _about_time(code: str, used: str) -> str:
    if code == _EXPIRED:
        return f"the credentials have expired: {used}. Give new ones."
    return "the clock of this machine differs too much from the store's. Set the machine's clock."


def _at_endpoint(address: Address, environ: Mapping[str, str]) -> str:
    where = endpoint(address.kind, environ) or (address.root if address.kind == "http" else "")
    return f" at {where}" if where else ""


def _short(text: str, status: int, code: str) -> str:
    if status:
        return f"the store answers {status} {code}".strip() + "."
    line = re.sub(r"\?\S*", "?…", text.split("\n\nDebug source", 1)[0])
    return " ".join(line.split())[:300].rstrip(".") + "."


def _code(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _status(error: Exception) -> int:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else 0
