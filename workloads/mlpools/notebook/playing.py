"""Runs the cells of a document, and keeps what it becomes after each, so that it is there however it ends."""

from __future__ import annotations

import asyncio
import re
import signal
import tempfile
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

from mlpools.errors import InvalidSpec, JobError, Preempted, UserCodeError, one_line
from mlpools.notebook.executed import Executed
from mlpools.reporting import report
from mlpools.train.reporter import log

RUNNING, COMPLETE, FAILED, STOPPED = "Running", "Complete", "Failed", "Stopped"

#: A kernel imports a few hundred files, perhaps from a volume that nobody has read from yet.
_START_SECONDS = 300
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
#: Where a traceback of IPython says in which line of which cell an error is.
_PLACE = r"Cell In\[{}\], line (\d+)"
#: What a job's log is searched for, to say how a program of Python ended.
_IS_ERROR = re.compile(r"\w*(Error|Exception|Interrupt|Warning)")
_WORDS = 300


class Player:
    """One run of a document."""

    def __init__(self, executed: Executed) -> None:
        self._executed = executed
        self._cells = executed.document.cells
        self._code = [at for at, it in enumerate(self._cells) if it.cell_type == "code"]
        self._index, self._at, self._since = -1, 0, 0.0
        self._stopping: asyncio.Future[Any] | None = None

    def play(self, environ: Mapping[str, str]) -> None:
        """Run all cells; the first error ends it, and so does SIGTERM.

        Args:
            environ: of the kernel.

        Raises:
            JobError: it did not come to its end; the copy says how, too.
        """
        self._executed.make_way()
        self._executed.keep(RUNNING)
        try:
            self._execute(environ)
        except JobError as error:
            self._executed.keep(STOPPED if isinstance(error, Preempted) else FAILED, str(error))
            raise
        self._executed.keep(COMPLETE)

    def _execute(self, environ: Mapping[str, str]) -> None:
        executed, name = self._executed, self._executed.name
        with tempfile.TemporaryDirectory(prefix="mlpools-kernel-") as sockets:
            # Ports could be taken meanwhile, and on a machine's own network others could listen.
            files = {"transport": "ipc", "ip": str(Path(sockets) / "kernel")}
            self._client = NotebookClient(
                executed.document,
                timeout=None,
                startup_timeout=_START_SECONDS,
                kernel_name=executed.kernel,
                config=Config(KernelManager=files),
                resources={"metadata": {"path": str(executed.folder)}},
                on_notebook_start=self._starts,
                on_cell_execute=self._begins,
                on_cell_executed=self._is_over,
            )
            try:
                self._client.execute(env=dict(environ))
            except NoSuchKernel as error:
                raise InvalidSpec(
                    f"{name} asks for the kernel {error.name!r}, and this image has none of that name; "
                    "python3 comes with ipykernel."
                ) from None
            except (CellExecutionError, RuntimeError, OSError) as error:
                if self._client.km is None:  # it is cleaned up once more when this process ends
                    self._client.create_kernel_manager()
                raise self._judged(error) from None

    def _starts(self, **_: Any) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)

    def _stop(self) -> None:
        """End the kernel, by force if need be; what runs in it ends with an error that is not its own."""
        if self._stopping is None:
            log("told to stop; the kernel ends")
            self._stopping = asyncio.ensure_future(self._client.km.shutdown_kernel())

    def _begins(self, cell_index: int, **_: Any) -> None:
        self._index, self._at = cell_index, self._code.index(cell_index) + 1
        self._since = time.monotonic()

    def _is_over(self, **_: Any) -> None:
        self._executed.keep(RUNNING)
        log(f"cell {self._at} of {len(self._code)}: {time.monotonic() - self._since:.1f} s")
        report(self._at, total=len(self._code))

    def _judged(self, error: Exception) -> JobError:
        """Return an end before the last cell's as a failure with a cause."""
        name = self._executed.name
        if self._stopping is not None:
            return Preempted(f"Told to stop in cell {self._at} of {name}.")
        if isinstance(error, CellExecutionError):
            return UserCodeError(self._failure(error))
        if not self._at:
            who = f"the kernel {self._executed.kernel!r} of {name}"
            return InvalidSpec(f"DeadKernelError: {who} does not start: {one_line(error)}.")
        if isinstance(error, DeadKernelError):
            words = f"DeadKernelError in cell {self._at} of {name}: its process ended"
            return UserCodeError(f"{words}, perhaps for lack of memory.")
        raise error

    def _failure(self, error: CellExecutionError) -> str:
        cell = self._cells[self._index]
        traces = (line for it in cell.outputs for line in it.get("traceback", ()))
        text = _COLOURS.sub("", "\n".join(traces))
        print(text.replace("\n", "\n  "), flush=True)  # noqa: T201 - for the log
        found = re.search(_PLACE.format(cell.execution_count), text)
        line = f", line {found[1]}," if found else ""
        kind = error.ename if _IS_ERROR.fullmatch(error.ename) else f"Error {error.ename}"
        said = textwrap.shorten(_COLOURS.sub("", error.evalue), _WORDS, placeholder=" …")
        reason = f": {said}" if said else ""
        return f"{kind} in cell {self._at}{line} of {self._executed.name}{reason}".rstrip(".") + "."
