"""Logs: one line a record on standard output, JSON for machines or text for a terminal.

A record about an object carries its kind, namespace and name as fields (``about``). Messages are in the
past tense. Expected errors are one sentence; a stack trace means a defect of the operator.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal

_ROOT = "mlpools"
_FIELDS = "fields"


class ObjectLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records carry the identity of one object; a call may add fields of its own."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put bound and given fields together."""
        fields = {**(self.extra or {}), **kwargs.pop("extra", {})}
        return msg, {**kwargs, "extra": {_FIELDS: fields}}


def logger(**fields: str) -> ObjectLogger:
    """Return a logger whose records carry the fields that are not empty."""
    return ObjectLogger(logging.getLogger(_ROOT), {key: value for key, value in fields.items() if value})


def about(kind: str, namespace: str, name: str) -> ObjectLogger:
    """Return the logger of one object."""
    return logger(kind=kind, namespace=namespace, name=name)


def configure(level: str, form: Literal["json", "text"]) -> None:
    """Send all records to standard output; libraries speak only when something is wrong."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(_ROOT).setLevel(level)
    if level == "DEBUG":
        logging.getLogger("kopf").setLevel(level)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **getattr(record, _FIELDS, {}),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = getattr(record, _FIELDS, {})
        where = "/".join(str(fields[key]) for key in ("kind", "namespace", "name") if key in fields)
        rest = " ".join(f"{k}={v}" for k, v in fields.items() if k not in ("kind", "namespace", "name"))
        parts = [time, record.levelname, where, record.getMessage(), rest]
        text = " ".join(part for part in parts if part)
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text
