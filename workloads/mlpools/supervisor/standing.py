"""Where a hung worker stood, by what Python's fault handler wrote into its log."""

from __future__ import annotations

import dataclasses
import re

#: What every line of a dumped stack looks like; the innermost call comes first.
_FRAME = re.compile(r'^  File "(?P<path>.+)", line (?P<line>\d+) in (?P<name>.+)$')
#: A thread that gets a signal is the main one, unless that one holds it back.
_MAIN = "Current thread "
#: Calls that wait for other ranks, or compute with them in turns.
_WAITS = re.compile(
    r"/torch/distributed/|/torch/autograd/graph\.py$|/xgboost/(collective|core)\.py$|/lightgbm/basic\.py$|"
    r"/mlpools/train/(collective|pytorch/(rendezvous|agreement))\.py$"
)
#: Files that are not the user's.
_LIBRARIES = re.compile(
    r"^<frozen |/site-packages/|/lib/python3\.\d+/|/mlpools/(runtime|train|data|storage)/"
)


@dataclasses.dataclass(frozen=True)
class Standing:
    """A place in a program.

    Attributes:
        place: such as ``train.py line 12 (load)``, of the user's own code where there is any.
        waits: the worker waited for other ranks, so one of those hangs.
    """

    place: str
    waits: bool

    def sentence(self) -> str:
        """Return what a person should know."""
        return f"It {'waited for other ranks' if self.waits else 'stood'} at {self.place}."


def standing(log: bytes) -> Standing | None:
    """Return where a worker stood when it was aborted; None if its log does not say."""
    lines = log.decode(errors="replace").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(_MAIN)]
    if not starts:
        return None
    frames = []
    for line in lines[starts[-1] + 1 :]:
        match = _FRAME.match(line)
        if match is None:
            break
        frames.append(match)
    if not frames:
        return None
    own = next((at for at, frame in enumerate(frames) if not _LIBRARIES.search(frame["path"])), None)
    calls = frames if own is None else frames[:own]
    frame = frames[own or 0]
    place = f"{frame['path'].rpartition('/')[2]} line {frame['line']} ({frame['name']})"
    return Standing(place, any(_WAITS.search(call["path"]) for call in calls))
