"""The object store library of this process, and one client for each bucket, container or host.

obstore's runtime has threads, and no thread lives on in a forked child: the first request there would wait
for ever. Workers of PyTorch's DataLoader are such children. So a child loads the extension module once more
from a copy of its own, whose runtime starts afresh.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from mlpools.errors import InvalidSpec
from mlpools.storage import contact
from mlpools.storage.urls import Address

#: For how many seconds a request is repeated while a store is overloaded or does not answer.
PATIENCE_ENV = "MLPOOLS_STORAGE_RETRY_SECONDS"
_PATIENCE = 120.0
#: Of one request with its body; pieces are small enough for slow lines.
_REQUEST_TIMEOUT = timedelta(minutes=10)
#: Without a byte for so long a connection counts as broken.
_STALL_TIMEOUT = timedelta(seconds=30)
_CONNECT_TIMEOUT = timedelta(seconds=5)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(milliseconds=100), timedelta(seconds=10)
_MANY = 10_000
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    "http": (),
}
_EXTENSION = "obstore._obstore"

_lock = threading.Lock()
_stores: dict[str, Any] = {}
_inherited = False


def patience(environ: Mapping[str, str] = os.environ) -> float:
    """Return for how many seconds a failing request is repeated.

    Raises:
        InvalidSpec: the variable is no number.
    """
    text = environ.get(PATIENCE_ENV, "")
    try:
        return float(text or _PATIENCE)
    except ValueError:
        raise InvalidSpec(f"{PATIENCE_ENV} is {text!r}; it has to be a number of seconds.") from None


def endpoint(kind: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the variable and value of another end point than the cloud's own, such as ``NAME=https://…``."""
    for name in _ENDPOINTS[kind]:
        if environ.get(name):
            return f"{name}={environ[name]}"
    return ""


def library() -> ModuleType:
    """Return obstore with a runtime that belongs to this process.

    Raises:
        InvalidSpec: a forked child may not load a copy of it here.
    """
    global _inherited
    with _lock:
        if _inherited:
            _load_anew()
            _inherited = False
        return importlib.import_module("obstore")


def store(address: Address) -> Any:
    """Return the client for a root; credentials and end points come from the environment.

    Raises:
        NobodyThereError: this process wants it for the first time, and nobody listens at its end point.
    """
    obstore = library()
    if address.root not in _stores and (named := _named(address)):
        contact.meet(named, min(contact.SECONDS, patience()))
    with _lock:
        if address.root not in _stores:
            options: dict[str, Any] = {
                "allow_http": _plain_http(address),
                "timeout": _REQUEST_TIMEOUT,
                "read_timeout": _STALL_TIMEOUT,
                "connect_timeout": _CONNECT_TIMEOUT,
            }
            if address.kind == "s3" and os.environ.get("AWS_CA_BUNDLE"):
                options["root_certificate"] = Path(os.environ["AWS_CA_BUNDLE"]).read_bytes()
            seconds = patience()
            retries = {
                "max_retries": _MANY,  # the time decides
                "retry_timeout": timedelta(seconds=seconds),
                "backoff": {
                    "init_backoff": _FIRST_WAIT,
                    "max_backoff": _LONGEST_WAIT,
                },
            }
            _stores[address.root] = obstore.store.from_url(
                address.root, client_options=options, retry_config=retries
            )
        return _stores[address.root]


def _named(address: Address) -> str:
    """Return the URL that somebody gave of the host to ask; empty for a cloud's own."""
    return address.root if address.kind == "http" else endpoint(address.kind).partition("=")[2]


def _plain_http(address: Address) -> bool:
    """Whether somebody asked for a connection without TLS, by the URL or by the end point."""
    return address.root.startswith("http://") or "=http://" in endpoint(address.kind)


def forget_after_fork() -> None:
    """Note in a forked child that clients and runtime are its parent's; its threads are not there.

    The clients are never freed here: that wakes tasks of the runtime, under locks that a thread of the parent
    may have held just then, which nobody ever lets go of in the child.
    """
    global _inherited, _lock, _stores
    _lock = threading.Lock()
    _inherited = _EXTENSION in sys.modules
    if _stores:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_stores))
        _stores = {}


os.register_at_fork(after_in_child=forget_after_fork)


def _load_anew() -> None:
    original = str(sys.modules[_EXTENSION].__file__)
    for name in [name for name in sys.modules if name == "obstore" or name.startswith("obstore.")]:
        del sys.modules[name]
    copy = os.memfd_create("obstore")
    try:
        with Path(original).open("rb") as file:
            while os.sendfile(copy, file.fileno(), None, 1 << 30):
                pass
        finder = _CopyFinder(f"/proc/self/fd/{copy}")
        sys.meta_path.insert(0, finder)
        try:
            importlib.import_module("obstore")
        finally:
            sys.meta_path.remove(finder)
    except OSError as error:
        raise InvalidSpec(
            "Remote data cannot be read in a forked process here, since the kernel refuses a private copy of "
            f"the library ({error.strerror}). Start the workers with multiprocessing_context='spawn'."
        ) from error
    finally:
        os.close(copy)


class _CopyFinder:
    """Finds the extension module at another path: the loader would know the same file again."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _EXTENSION:
            return None
        loader = importlib.machinery.ExtensionFileLoader(name, self._path)
        return importlib.util.spec_from_file_location(name, self._path, loader=loader)
