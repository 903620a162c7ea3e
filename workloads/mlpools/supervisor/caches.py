"""Files that libraries work out for themselves and keep in the home folder, which is empty in each new pod.

The image has them ready where nothing can be written. Matplotlib, for one, takes its list of fonts only from
a folder that it may write to, and else looks at all fonts again.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from mlpools.supervisor.logs import say

_READY = Path(sys.prefix, "share", "mlpools", "caches")


def lay_out(ready: Path = _READY) -> None:
    """Copy what the image has ready to where libraries look for it; without it they take their time.

    Args:
        ready: the image's folder; images that are not ours have none.
    """
    if not ready.is_dir():
        return
    target = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        shutil.copytree(ready, target, dirs_exist_ok=True)
    except OSError as error:
        say(f"{target} cannot be written, so libraries make their caches anew: {error}")
