"""Where a URL of a job points to. Standard library only: the supervisor writes logs there."""

from __future__ import annotations

from pathlib import Path

_FILE = "file://"


def local_path(url: str, what: str) -> Path:
    """Return the path behind a ``file://`` URL or an absolute path.

    Args:
        url: as a user wrote it.
        what: the field it came from, for the message.

    Raises:
        ValueError: it is neither; the message is one sentence for a person.
    """
    path = url[len(_FILE) :] if url.startswith(_FILE) else url
    if "%" in path and url.startswith(_FILE):
        from urllib.parse import unquote  # not on the supervisor's usual way: it costs memory

        path = unquote(path)
    if not path.startswith("/"):
        raise ValueError(
            f"{what} is {url!r}, but only files on a mounted volume can be used: write file:///path or /path."
        )
    return Path(path)


def child_url(url: str, name: str) -> str:
    """Return the URL of something below another URL."""
    return f"{url.rstrip('/')}/{name}"
