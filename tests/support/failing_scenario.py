"""Notebooks that do not come to serve, from inside their pods."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from mlpools.contract.tasks import Code
from tests.support.notebook_pod import TOKEN, Pod
from tests.support.waiting import PATIENCE

#: Says something, what opens the notebook, too, and never opens its port.
SILENT = f"import time; print('loads keys', flush=True); print('{TOKEN}', flush=True); time.sleep(1000)"
_FAILS = "import sys; print('no such licence'); sys.exit(7)"
_ROOM = 20 * 2**20


async def scenario(folder: Path) -> dict[str, Any]:
    """Start some that fail, and return the last words of each."""
    found = {
        "program": await _end(Pod(folder, command=[sys.executable, "-c", _FAILS])),
        "absent": await _end(Pod(folder, command=["no-such-program"])),
        "no_jupyter": await _end(Pod(folder)),
        "silent": await _wait_for_its_port(folder),
        "full": await _fill_up(folder),
    }
    git = Code(git_url="http://127.0.0.1:9/team/work", revision="main")
    found["git"] = await _end(Pod(folder, git=git.to_dict()))
    shutil.rmtree(folder / "workspace")
    (folder / "workspace").symlink_to(folder / "nowhere")
    found["workspace"] = await _end(Pod(folder))
    return found


async def _wait_for_its_port(folder: Path) -> dict[str, Any]:
    pod = Pod(folder, command=[sys.executable, "-c", SILENT])
    seen = await pod.until(lambda it: it.said.count("/") > 0)
    pod.stop()
    return {"serving": seen.serving, "said": seen.said}


async def _fill_up(folder: Path) -> list[str]:
    """Fill the workspace up, and return what is said before, then, and when a program ends."""
    place = folder / "workspace"
    await _run("mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(place))
    pod = Pod(folder, command=[sys.executable, "-c", SILENT])
    before = await pod.until(lambda it: True)
    (place / "big").write_bytes(b"x" * (_ROOM * 97 // 100))
    then = await pod.until(lambda it: it.trouble != before.trouble)
    pod.stop()
    end = await _end(Pod(folder, command=[sys.executable, "-c", _FAILS]))
    await _run("umount", str(place))
    return [before.trouble, then.trouble, end["message"]]


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0, command


async def _end(pod: Pod) -> dict[str, Any]:
    code = await asyncio.to_thread(pod.process.wait, PATIENCE)
    return {**json.loads((pod.folder / "termination").read_text()), "exitCode": code}
