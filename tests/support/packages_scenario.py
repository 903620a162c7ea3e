"""What people install in a real JupyterLab, from inside its pod, and find again a stop and a start later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlpools.contract.tasks import Packages
from tests.support import kernels
from tests.support.notebook_pod import Pod
from tests.support.package_index import PackageIndex

_IMPORT = "import cat, dog; print('found', cat.version, dog.version)"


async def scenario(folder: Path) -> dict[str, Any]:
    """Install in a kernel, stop, start, and import; then lose the index with another image."""
    found: dict[str, Any] = {}
    with PackageIndex(folder / "index") as index:
        index.wheel("cat", "1.0")
        index.wheel("dog", "1.0")
        index.wheel("mouse", "1.0", needs=["cheese"])
        index.wheel("cheese", "1.0")
        rules = Packages(index_url=index.url, block=("cheese",))
        pod = await _start(folder, rules)
        found["magic"] = await kernels.say(["%pip install cat==1.0", "!pip install dog", _IMPORT])
        found["blocked"] = await kernels.say(["%uv pip install mouse"])
        found["end"] = dict(pod.stop())
        pod = await _start(folder, rules)
        found["again"] = await kernels.say([_IMPORT])
        pod.stop()
    (library,) = (folder / "workspace" / ".mlpools" / "packages").glob("*/")
    (library / "cat.py").unlink()
    for file in (library / "cat-1.0.dist-info").iterdir():
        file.unlink()
    pod = await _start(folder, rules)
    found["lost"] = await kernels.say(["1 + 1", "2 + 2"])
    found["trouble"] = pod.activity().trouble
    pod.stop()
    return found


async def _start(folder: Path, rules: Packages) -> Pod:
    pod = Pod(folder, args=["--allow-root"], packages=rules.to_dict())
    await pod.until(lambda it: it.serving, 120)
    return pod
