"""What happens to a notebook whose image starts its program by itself, seen from the sidecar."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import plain_scenario
from tests.support.notebook_pod import PORT, Pod
from tests.support.waiting import PATIENCE


async def scenario(folder: Path) -> dict[str, Any]:
    """Use the program, and tell what was made of it from beside."""
    pod = Pod(folder, beside=True, gpus=1)
    before = await pod.until(lambda it: True)
    command = [sys.executable, "-c", plain_scenario.PROGRAM.format(port=PORT)]
    program = await asyncio.to_thread(subprocess.Popen, command)
    await pod.until(lambda it: it.serving)
    await pod.until(lambda it: it.unused_seconds > 4)
    computes = await plain_scenario.computing(pod)
    await pod.until(lambda it: it.unused_seconds > 4)
    program.kill()
    gone = await pod.until(lambda it: not it.serving)
    program.wait()
    pod.process.terminate()
    return {
        "before": before.serving,
        "gpu_unseen": before.gpu_unseen,
        "attempt": before.attempt,
        "computes": [computes.unused_seconds, computes.used_by],
        "gone": gone.serving,
        "code": pod.process.wait(PATIENCE),
        "words": (folder / "termination").exists(),
    }
