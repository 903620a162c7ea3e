"""What must not leave a cluster in a bundle. Pure.

Two nets, since neither is tight alone: the values of the Secrets that an object names, in every form in which
text may hold them; and patterns of what looks like a credential, wherever it comes from.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

GONE = "<redacted>"

#: Shorter ones are in every other word; a part of a value has to be longer than a value to count.
_SHORTEST, _SHORTEST_PART = 4, 8
_LOOSE = (
    r"pass(?:word|wd|phrase)|token|(?:api|access|private)[-_]?key|credentials?|sig(?:nature)?|authorization"
)
_WORDS = rf"(?:{_LOOSE}|secret)"
#: Of a field whose text is a credential; `tokenSecret`, `secret` and their like name a Secret.
_FIELD = re.compile(rf"(?i:{_LOOSE}|[-_]secret)$")
_VARIABLE = re.compile(rf"(?i){_WORDS}$")
_OPTION = re.compile(rf"(?i)^--?[\w-]*{_WORDS}$")
_PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
    re.compile(r"(?<=://)[^/\s@'\"]+(?=@)"),
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]+"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
)
_ASSIGNED = re.compile(rf"(?i)(\b[\w-]*{_WORDS}[\"']?\s*[=:]\s*[\"']?)(?!(?:bearer )?<redacted>)[^\s\"',;&]+")
#: What an API server adds, and what repeats a whole manifest.
_NOISE = ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")


class Redactor:
    """Takes out what is known to be secret, and what looks like it."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Learn values, and with them their parts and their encodings."""
        parts = {part for value in values for part in _parts(value)}
        forms = {form for part in parts for form in _forms(part) if len(form) >= _SHORTEST}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def known(self, text: str) -> str:
        """Return a text without the values."""
        return self._known.sub(GONE, text) if self._known else text

    def text(self, text: str) -> str:
        """Return a text without the values, and without what looks like a credential."""
        text = self.known(text)
        for pattern in _PATTERNS:
            text = pattern.sub(GONE, text)
        return _ASSIGNED.sub(rf"\1{GONE}", text)

    def tree(self, node: Any) -> Any:
        """Return an object of the API without them; of variables only the names stay."""
        if isinstance(node, Mapping):
            return {key: self._field(key, value) for key, value in node.items() if key not in _NOISE}
        if isinstance(node, list):
            before = [None, *node][:-1]
            return [self._item(first, it) for first, it in zip(before, node, strict=True)]
        return self.text(node) if isinstance(node, str) else node

    def _field(self, key: str, value: Any) -> Any:
        if key == "env" and isinstance(value, list):
            return [self.tree({**it, "value": GONE} if "value" in it else it) for it in value]
        return GONE if isinstance(value, str) and _FIELD.search(key) else self.tree(value)

    def _item(self, before: Any, it: Any) -> Any:
        """Redact an item of a list; of a command line's, the word after ``--token`` is its value."""
        is_value = isinstance(before, str) and isinstance(it, str) and _OPTION.match(before)
        return GONE if is_value else self.tree(it)


def named(node: Any) -> set[str]:
    """Return the Secrets that an object of the API names, whatever for."""
    return set(_named(node))


def _named(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for it in node:
            yield from _named(it)
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if isinstance(value, str) and (key in ("secretName", "secret") or key.endswith("Secret")):
            yield value
        elif key in ("secretKeyRef", "secretRef", "secret") and isinstance(value, Mapping):
            yield str(value.get("name", ""))
        elif key == "imagePullSecrets":
            yield from (str(it.get("name", "")) for it in value)
        yield from _named(value)


def literals(node: Any) -> set[str]:
    """Return the values of variables whose names say that they are credentials."""
    if isinstance(node, list):
        return {value for it in node for value in literals(it)}
    if not isinstance(node, Mapping):
        return set()
    own = {str(node["value"])} if _VARIABLE.search(str(node.get("name", ""))) and node.get("value") else set()
    return own | {value for it in node.values() for value in literals(it)}


def _parts(value: str) -> Iterator[str]:
    """Yield a value, its lines, its fields if it is JSON, and the password if it is an address."""
    value = value.strip()
    yield value
    lines = value.splitlines()
    yield from (line.strip() for line in lines if len(lines) > 1 and len(line.strip()) >= _SHORTEST_PART)
    yield from (leaf for leaf in _leaves(value) if len(leaf) >= _SHORTEST_PART)
    try:
        password = urlsplit(value).password
    except ValueError:
        return
    if password:
        yield from (password, unquote(password))


def _leaves(text: str) -> Iterator[str]:
    try:
        node = json.loads(text) if text.startswith(("{", "[")) else None
    except ValueError:
        return
    rest = [node]
    while rest:
        it = rest.pop()
        if isinstance(it, str):
            yield it
        elif isinstance(it, dict | list):
            rest += it.values() if isinstance(it, dict) else it


def _forms(text: str) -> Iterator[str]:
    """Yield how a text stands in base64, in URLs and in JSON."""
    raw = text.encode()
    yield text
    yield base64.b64encode(raw).decode()
    yield base64.urlsafe_b64encode(raw).decode()
    yield base64.b64encode(raw).decode().rstrip("=")
    yield quote(text, safe="")
    yield json.dumps(text)[1:-1]
