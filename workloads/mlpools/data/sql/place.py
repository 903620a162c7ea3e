"""Where a query's rows are laid down.

In a job: beside its checkpoints, so that all ranks and later attempts read what one has read. Elsewhere:
below the cache folder, as long as this process lives.
"""

from __future__ import annotations

import itertools
import os

from mlpools.contract.wiring import STAGE_ENV
from mlpools.data import scratch
from mlpools.storage import Location, locate

_counter = itertools.count()


def folder() -> Location:
    """Return the job's folder, or elsewhere a new one: there each reading is meant to see new rows."""
    if url := os.environ.get(STAGE_ENV):
        return locate(url)
    return locate(scratch.of_process("sql")).child(str(next(_counter)))
