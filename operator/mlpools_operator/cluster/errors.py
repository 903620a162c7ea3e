"""What the API server can answer instead of what was asked for.

    ClusterError
    ├── Invalid         the request itself is wrong; sending it again cannot help
    ├── Refused         a rule of the cluster forbids it: RBAC, quota, Pod Security, a webhook
    ├── NotFound        there is no such object
    ├── AlreadyExists   there is one of that name
    ├── Conflict        it changed, or was replaced, since it was read
    ├── Expired         a paged list took too long and must start again
    ├── Transient       try again later: overload, time-out, no connection, a token that ran out
    └── Fenced          not sent: this process does not lead, or not for long enough

Each one's text is the API server's own sentence, where it said one.
"""

# ruff: noqa: N818 - named as the API server names its reasons

from __future__ import annotations

import json


class ClusterError(Exception):
    """A request failed.

    Attributes:
        code: HTTP status, 0 without an answer.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Invalid(ClusterError):
    """The request is wrong; it is not sent again."""


class Refused(ClusterError):
    """A rule of the cluster forbids it."""


class NotFound(ClusterError):
    """There is no such object, or no such kind."""


class AlreadyExists(ClusterError):
    """The name is taken."""


class Conflict(ClusterError):
    """The object is not the one, or not the version, that was meant."""


class Expired(ClusterError):
    """The continuation of a paged list is too old."""


class Transient(ClusterError):
    """Worth another try, later."""


class Fenced(ClusterError):
    """A write that was not sent, because somebody else may lead before it would be over."""


_BY_CODE: dict[int, type[ClusterError]] = {
    400: Invalid,
    403: Refused,
    404: NotFound,
    405: Invalid,
    406: Invalid,
    409: Conflict,
    410: Expired,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


def from_answer(code: int, body: bytes) -> ClusterError:
    """Return the error that a non-2xx answer means.

    Webhooks may deny with any code, so they are told by the API server's wording
    (``admission webhook "…" denied the request``).
    """
    reason, message = _status(code, body)
    if "admission webhook" in message and code < 500:
        return Refused(message, code)
    if reason == "AlreadyExists":
        return AlreadyExists(message, code)
    return _BY_CODE.get(code, Transient)(message, code)


def _status(code: int, body: bytes) -> tuple[str, str]:
    """Return reason and message of a ``metav1.Status``, or of whatever a proxy in between said."""
    try:
        status = json.loads(body)
        return str(status.get("reason", "")), str(status.get("message") or f"HTTP {code}")
    except (ValueError, AttributeError):
        return "", body[:200].decode(errors="replace").strip() or f"HTTP {code}"
