"""Messages of Jupyter's protocol, as a browser sends them."""

from __future__ import annotations

from typing import Any


def execute(code: str) -> dict[str, Any]:
    """Return the request to run a cell."""
    header = {
        "msg_id": "m",
        "msg_type": "execute_request",
        "session": "s",
        "username": "",
        "version": "5.4",
    }
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False},
        "channel": "shell",
        "buffers": [],
    }
