"""A way from this machine to a port of a pod: TCP connections, carried on in the cluster's own namespaces.

`kubectl port-forward` ends with the first connection that is reset, and browsers reset many.

    python -m tests.support.relay SOCKET ADDRESS PORT     # of an open file that listens
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

from tools.cluster.instance import Instance

_CHUNK = 65_536


@contextlib.contextmanager
def relayed(instance: Instance, address: str, port: int) -> Iterator[str]:
    """Give a URL of a pod's port while the block runs."""
    # A socket stays in the network in which it was opened, whoever has it.
    with socket.create_server(("127.0.0.1", 0)) as here:
        number = here.fileno()
        program = [sys.executable, "-m", "tests.support.relay", str(number), address, str(port)]
        command = [*instance.inside.command, *program]
        # It ends with its standard input: what is started in there is nobody's child to kill.
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(command, pass_fds=(number,), stdin=subprocess.PIPE, env=environ):
            yield f"http://127.0.0.1:{here.getsockname()[1]}"


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()
    target.close()


async def _serve(number: int, address: str, port: int) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, away = await asyncio.open_connection(address, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_carry(reader, away), _carry(there, writer))

    async with await asyncio.start_server(accept, sock=socket.socket(fileno=number)):
        await asyncio.to_thread(sys.stdin.read)
        os._exit(0)  # whatever it still carries


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
