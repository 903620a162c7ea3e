"""Asking a pod's supervisor: one bounded answer, or none."""

from __future__ import annotations

import aiohttp

#: For a whole request; who is slower is busy or gone.
TIMEOUT = aiohttp.ClientTimeout(total=2)
_LONGEST_BYTES = 65_536


def session() -> aiohttp.ClientSession:
    """Return a session for pods, which never go through a proxy."""
    return aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False)


async def status(session: aiohttp.ClientSession, address: str, port: int) -> str:
    """Return what a supervisor answers at ``/status``.

    Raises:
        TimeoutError: it did not in time.
        aiohttp.ClientError: nobody answers there.
        OSError: there is no way to there.
        ValueError: it is too long, or no text.
    """
    host = f"[{address}]" if ":" in address else address
    async with session.get(f"http://{host}:{port}/status", allow_redirects=False) as answer:
        return await _bounded_text(answer)


async def _bounded_text(answer: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(8192):
        body += chunk
        if len(body) > _LONGEST_BYTES:
            raise ValueError("the report is too long")
    return body.decode()
