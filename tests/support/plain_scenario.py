"""What happens to a notebook whose program is a plain process, from inside its pod."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from mlpools.contract.reports import Activity
from tests.support.notebook_pod import PORT, Pod

#: Serves, and does what it reads from its clients: computes, or starts a program in a terminal.
PROGRAM = """
import os, pty, signal, socket, time
server = socket.create_server(("0.0.0.0", {port}))
shell = 0
while True:
    client, _ = server.accept()
    with client:
        word = client.recv(100)
        if word == b"compute":
            end = time.process_time() + 2
            while time.process_time() < end:
                pass
        elif word == b"terminal":
            shell, master = pty.fork()
            if shell == 0:
                os.execv("/bin/sh", ["sh", "-c", "sleep 1000; exit"])
        elif word == b"close":
            os.killpg(shell, signal.SIGKILL)
            os.close(master)
        client.sendall(b"done")
"""


async def say(word: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(word)
    await reader.read(100)
    writer.close()


async def computing(pod: Pod) -> Activity:
    """Have it compute, and return what is seen of that meanwhile."""
    saying = asyncio.create_task(say(b"compute"))
    seen = await pod.until(lambda it: it.used_by == "processes that compute" and it.unused_seconds < 2)
    await saying
    return seen


async def scenario(folder: Path) -> dict[str, Any]:
    """Use it in all ways, and tell what its supervisor made of it."""
    pod = Pod(folder, command=[sys.executable, "-c", PROGRAM.format(port=PORT)])
    first = await pod.until(lambda it: it.serving)
    quiet = await pod.until(lambda it: it.unused_seconds > 4)
    computes = await computing(pod)
    await pod.until(lambda it: it.unused_seconds > 4)
    await say(b"terminal")
    runs = await pod.until(_in_a_terminal)
    await asyncio.sleep(3)
    still = pod.activity()
    await say(b"close")
    after = await pod.until(lambda it: it.unused_seconds > 4)
    end = dict(pod.stop())
    return {
        "attempt": first.attempt,
        "quiet": quiet.used_by,
        "computes": [computes.unused_seconds, computes.used_by],
        "runs": [runs.unused_seconds, still.unused_seconds],
        "after": after.unused_seconds,
        "end": end,
    }


def _in_a_terminal(activity: Activity) -> bool:
    return activity.used_by == "a program in a terminal"
