"""``python -m mlpools.supervisor``: runs one pod of a job, or that of a notebook."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mlpools.contract.ends import Exit, Final
from mlpools.contract.wiring import NOTEBOOK_ENV, TASK_ENV, TERMINATION_LOG, TERMINATION_LOG_ENV
from mlpools.supervisor import caches, mounts
from mlpools.supervisor.final import write_termination
from mlpools.supervisor.logs import say
from mlpools.supervisor.process import default_command
from mlpools.supervisor.settings import Settings, SettingsError
from mlpools.supervisor.status import PortTakenError
from mlpools.supervisor.supervise import Supervisor


def main(command: Sequence[str] | None = None) -> int:
    """Run the pod's task and return its exit code.

    Args:
        command: how a worker is started; tests start others than ``mlpools.runtime``.
    """
    # What a cell trains with are ranks of a job: processes that have the notebook's variables and a task.
    if NOTEBOOK_ENV in os.environ and TASK_ENV not in os.environ:
        from mlpools.supervisor.notebook import run  # its HTTP client alone is 3 MB that no job needs

        return run.main(os.environ)
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        say(str(error))
        final = Final(code=Exit.INTERNAL, rank=0, message=str(error))
        write_termination(final, os.environ.get(TERMINATION_LOG_ENV, TERMINATION_LOG))
        return int(Exit.INTERNAL)
    missing = mounts.absent(settings.task)
    if missing:
        say(missing)
        final = Final(Exit.SECRET_MISSING, settings.rank, settings.task.attempt, message=missing)
        write_termination(final, settings.termination_log)
        return int(Exit.SECRET_MISSING)
    caches.lay_out()
    try:
        return Supervisor(settings, command or default_command()).run()
    except PortTakenError as error:
        say(str(error))
        final = Final(Exit.PORT_TAKEN, settings.rank, settings.task.attempt, message=str(error))
        write_termination(final, settings.termination_log)
        return int(Exit.PORT_TAKEN)


if __name__ == "__main__":
    sys.exit(main())
