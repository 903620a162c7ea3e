"""Where a database is and how to get in, without ever showing the key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from mlpools.errors import InvalidSpec, SecretMissing

#: Scheme of a URI -> the engine that speaks to it.
ENGINES: Mapping[str, str] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
    "snowflake": "snowflake",
}
_FORMS = (
    "postgresql://user@host/database, sqlite:///path, duckdb:///path or snowflake://user@account/database"
)

#: A Secret's keys beside ``uri``: other spellings -> ours. Operators of databases write these.
_SPELLINGS = {"username": "user", "dbname": "database"}
_PLACE = ("driver", "user", "password", "host", "port", "database")
#: Files of a Secret that libpq reads by itself, and their parameters.
_TLS_FILES = {"ca.crt": "sslrootcert", "tls.crt": "sslcert", "tls.key": "sslkey"}
_SECRET = frozenset({"password", "sslpassword", "passcode", "token", "privatekey"})
_HIDDEN = "***"


@dataclasses.dataclass(frozen=True)
class Address:
    """The URI of a database.

    Nothing shows its password: not ``str``, not ``repr``, and a pickled address has lost it.
    """

    uri: str = dataclasses.field(repr=False)

    def __post_init__(self) -> None:
        scheme = self.uri.partition("://")[0]
        if "://" not in self.uri or scheme not in ENGINES:
            # The text may hold a password anywhere, so it is not repeated.
            raise InvalidSpec(f"The connection is no URI of a database that can be read: write {_FORMS}.")
        try:
            _ = self._parts.port
        except ValueError as error:
            raise InvalidSpec(
                f"The connection's {scheme}:// URI cannot be taken apart. "
                "Are @, / and : of user and password written as %40, %2F and %3A?"
            ) from error

    def __str__(self) -> str:
        parts = self._parts
        user = f"{parts.username}@" if parts.username else ""
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{parts.path}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Address, (str(self),)

    @property
    def engine(self) -> str:
        """``postgresql``, ``sqlite``, ``duckdb`` or ``snowflake``."""
        return ENGINES[self._parts.scheme]

    @property
    def path(self) -> str:
        """The absolute path of an embedded database's file."""
        return "/" + unquote(self._parts.path).lstrip("/")

    def with_defaults(self, **parameters: str) -> str:
        """Return the URI with these parameters where it does not set them itself."""
        # The rest stays as it was written: libpq, for one, does not take + for a space.
        given = self._parameters()
        missing = {name: text for name, text in parameters.items() if name not in given}
        query = "&".join(part for part in (self._parts.query, urlencode(missing, quote_via=quote)) if part)
        return str(self._parts._replace(query=query).geturl())

    def scrub(self, text: str) -> str:
        """Return a library's message without any secret of this address in it."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text

    def _secrets(self) -> set[str]:
        """What must not be seen, as it is written and as it is meant."""
        named = [text for name, text in self._parameters().items() if name.lower() in _SECRET]
        written = [self._parts.password or "", *named]
        return {form for text in written for form in (text, unquote(text)) if form}

    def _parameters(self) -> dict[str, str]:
        return dict(part.partition("=")[::2] for part in self._parts.query.split("&") if part)

    @property
    def _parts(self) -> Any:
        return urlsplit(self.uri)


def from_folder(folder: Path) -> Address:
    """Read a mounted Secret: one file a key.

    ``uri``; or ``user`` (``username``), ``password``, ``host``, ``port``, ``database`` (``dbname``) and
    ``driver`` (``postgresql`` if absent), every other key being a parameter of the driver, such as
    ``sslmode`` or ``warehouse``. ``ca.crt``, ``tls.crt`` and ``tls.key`` are used for TLS with PostgreSQL.

    Raises:
        SecretMissing: the folder, or a key without which there is no way in, is not there.
        InvalidSpec: the URI is none.
    """
    keys = _read(folder)
    if not keys:
        raise SecretMissing(
            f"The Secret of the database, mounted at {folder}, is not there or is empty: create it."
        )
    parameters = _tls(folder, keys)
    if uri := keys.get("uri", ""):
        address = Address(uri)
        return Address(address.with_defaults(**parameters)) if parameters else address
    driver = keys.get("driver", "postgresql")
    needed = ("database",) if driver in ("sqlite", "duckdb") else ("host", "user", "database")
    if absent := [name for name in needed if not keys.get(name)]:
        raise SecretMissing(
            f"The Secret of the database, mounted at {folder}, has neither a key uri nor a key "
            f"{absent[0]}: add one."
        )
    parameters = {**parameters, **{name: text for name, text in keys.items() if name not in _PLACE}}
    return Address(_compose(driver, keys, parameters))


def _compose(driver: str, keys: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    def quoted(name: str) -> str:
        return quote(keys.get(name, ""), safe="")

    login = quoted("user") + (f":{quoted('password')}" if keys.get("password") else "")
    port = f":{keys['port']}" if keys.get("port") else ""
    place = f"{login}@{keys['host']}{port}" if keys.get("host") else ""
    query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
    return f"{driver}://{place}/{quote(keys['database'].removeprefix('/'))}{query}"


def _read(folder: Path) -> dict[str, str]:
    """Return the keys of a mounted Secret; names that begin with two dots are the kubelet's own."""
    try:
        files = [path for path in folder.iterdir() if not path.name.startswith("..") and path.is_file()]
        texts = {path.name: path.read_text().strip() for path in files if path.name not in _TLS_FILES}
    except OSError:
        return {}
    except UnicodeDecodeError as error:
        raise InvalidSpec(
            f"The Secret of the database, mounted at {folder}, has a key that is no text."
        ) from error
    known = {_SPELLINGS.get(name, name): text for name, text in texts.items()}
    # What operators of databases add beside: the same place in other forms.
    return {name: text for name, text in known.items() if name not in ("jdbc-uri", "fqdn-uri", "pgpass")}


def _tls(folder: Path, keys: Mapping[str, str]) -> dict[str, str]:
    """Return libpq's parameters for the files of a Secret; an authority is given to be checked."""
    found = {name: str(folder / file) for file, name in _TLS_FILES.items() if (folder / file).is_file()}
    if "sslrootcert" in found and "sslmode" not in keys:
        found["sslmode"] = "verify-full"
    return found
