"""Tells by its first bytes what a file is that is not what it is called."""

from __future__ import annotations

_MAGIC = {
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"FEA1": "Feather version 1",
    b"ORC": "ORC",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}


def is_no(kind: str, head: bytes) -> str:
    """Return a clause that says so, and what the file looks like instead."""
    if not head:
        return f"is empty, and so no {kind} file"
    other = looks_like(head)
    return f"is no {kind} file" + (f"; it looks like {other}" if other and other != kind else "")


def looks_like(head: bytes) -> str:
    """Return the kind of file that begins like this; empty if it is none that can be told."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")
