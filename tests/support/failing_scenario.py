"""Notebooks that do not come to serve, from inside their pods."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from mlpools.contract.tasks import Code
from tests.support.notebook_pod import Pod


async def scenario(folder: Path) -> dict[str, Any]:
    """Start some that fail, and return the last words of each."""
    program = "import sys; print('no such licence'); sys.exit(7)"
    found = {
        "program": await _end(Pod(folder, command=[sys.executable, "-c", program])),
        "absent": await _end(Pod(folder, command=["no-such-program"])),
    }
    git = Code(git_url="http://127.0.0.1:9/team/work", revision="main")
    found["git"] = await _end(Pod(folder, git=git.to_dict()))
    shutil.rmtree(folder / "workspace")
    (folder / "workspace").symlink_to(folder / "nowhere")
    found["workspace"] = await _end(Pod(folder))
    return found


async def _end(pod: Pod) -> dict[str, Any]:
    code = await asyncio.to_thread(pod.process.wait, 30)
    return {**json.loads((pod.folder / "termination").read_text()), "exitCode": code}
