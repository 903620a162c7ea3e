"""URLs of stores taken apart and checked."""

from __future__ import annotations

import dataclasses
import posixpath
from urllib.parse import quote, unquote, urlsplit

from mlpools.errors import InvalidSpec
from mlpools.locations import local_path

#: Scheme -> the kind of store that it names.
STORES = {
    "s3": "s3",
    "gs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
    "http": "http",
    "https": "http",
}


@dataclasses.dataclass(frozen=True)
class Address:
    """A remote URL in its parts.

    Attributes:
        kind: ``s3``, ``gs``, ``az`` or ``http``.
        root: scheme and bucket, container or host, such as ``s3://flights``; it has no slash at its end.
        key: of the object, or the prefix of a folder; empty for all of the root. Neither end has a slash.
    """

    kind: str
    root: str
    key: str

    def url_of(self, key: str) -> str:
        """Return the URL of another object of the same root."""
        if self.kind == "http":
            key = quote(key, safe="/!$&'()*+,;=:@~")
        return f"{self.root}/{key}" if key else self.root


def canonical(url: str) -> str:
    """Return the one spelling of a URL: a local file as its absolute path, others without needless slashes.

    A path may be relative to the working folder, as one writes it on a laptop.

    Raises:
        InvalidSpec: it is none that can be used; the sentence says why.
    """
    if "://" not in url:
        return posixpath.abspath(url)
    if not url.startswith("file://"):
        address = parse(url)
        return address.url_of(address.key)
    try:
        return posixpath.normpath(local_path(url, "The URL"))
    except ValueError as error:
        raise InvalidSpec(
            f"{url!r} is no URL that can be used: a file's begins with file:/// or is only its path."
        ) from error


def parse(url: str) -> Address:
    """Take a remote URL apart.

    Raises:
        InvalidSpec: an unknown scheme, no bucket, credentials, or a query in it.
    """
    scheme, _, rest = url.partition("://")
    kind = STORES.get(scheme)
    if kind is None:
        raise InvalidSpec(
            f"{scheme}:// is no storage that can be used; there are /path, file://, "
            f"{', '.join(f'{name}://' for name in STORES)}."
        )
    host, _, key = rest.partition("/")
    _refuse_credentials(scheme, host)
    if kind == "http":
        if urlsplit(url).query or urlsplit(url).fragment:
            raise InvalidSpec(
                f"{scheme}://{host}/… has a query. A signed URL is a password in plain sight: give the "
                "credentials in the environment and the URL of the store, or a public URL without a query."
            )
        key = unquote(key)
    if not host:
        raise InvalidSpec(f"{url!r} names no {'host' if kind == 'http' else 'bucket or container'}.")
    key = "/".join(part for part in key.split("/") if part)
    if any(part in (".", "..") for part in key.split("/")):
        raise InvalidSpec(f"{url!r} has . or .. as a folder, which object stores do not have.")
    return Address(kind, f"{scheme}://{host}", key)


def _refuse_credentials(scheme: str, host: str) -> None:
    user, at, _ = host.rpartition("@")
    # In abfs://container@account… the part before the @ is the container.
    if at and (":" in user or not scheme.startswith("abfs")):
        raise InvalidSpec(
            f"A {scheme}:// URL has a user or password in it, which everybody sees who sees the URL. "
            "Give the credentials in the environment, by envFrom from a Secret or by the service account."
        )
