"""Keeps a process that predicts: starts it, says that it lives, and starts another when it crashed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mlpools.contract.wiring import REPORT_FD_ENV
from mlpools.errors import JobError, ModelUnreadable, OutOfMemory, from_final
from mlpools.inference.asking import Dispensary
from mlpools.inference.errand import FOLDER_ENV, Errand, last_words, was_loaded
from mlpools.inference.models.fetch import Fetched
from mlpools.inference.settings import Settings
from mlpools.supervisor import cgroup
from mlpools.train import user_code
from mlpools.train.job import Job
from mlpools.train.reporter import log

_BEAT_SECONDS = 2.0
#: Rows of a call after memory ran out, where nobody said how many there were, and how much less each time.
_FIRST_BOUND, _LESS = 1 << 15, 8


class Keeper:
    """One worker's place: one process after another."""

    def __init__(self, job: Job, dispensary: Dispensary, model: Fetched, folder: Path) -> None:
        """Start the first process.

        Args:
            job: of this rank.
            dispensary: of rank 0, without a worker's name.
            model: on this machine.
            folder: an existing one for messages between this process and those.
        """
        self._job = job
        self._rank_zero = dispensary
        self._model = model
        self._folder = folder
        self._most_rows = 0
        self._settings = Settings.from_task(job.task)
        for _ in range(self._settings.out_of_memory):  # each time there was nobody left to start it again
            self._most_rows = self._fewer_rows()
        if self._most_rows:
            log(f"Memory ran out before: a call of the model gets at most {self._most_rows:,} rows now.")
        self._beaten = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def poll(self) -> bool:
        """Look after the process; call it a few times a second.

        Returns:
            Whether it has ended, because there are no more shards.

        Raises:
            JobError: it ended with a cause that another process would meet, too.
            PeerLost: rank 0 does not answer any more.
        """
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            if time.monotonic() - self._beaten > _BEAT_SECONDS:
                self._beaten = time.monotonic()
                self._me.beat()
            return False
        if code == 0:
            return True
        words = last_words(self._folder)
        if words is not None:
            self._me.left()
            raise from_final(words, of_many=False)
        self._crashed(code)
        return False

    def close(self) -> None:
        """End the process, if it still runs; what it had in hand is handed out again."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def leave(self) -> None:
        """Stop, as asked: end the process and tell rank 0."""
        self.close()
        self._me.left()

    def _start(self) -> None:
        job = self._job
        worker = f"{job.gang.rank}-{os.urandom(4).hex()}"
        self._me = Dispensary(self._rank_zero.host, self._rank_zero.port, self._rank_zero.token, worker)
        self._beaten = 0.0
        errand = Errand(
            *(self._me.host, self._me.port, self._me.token, worker),
            model=str(self._model.path or ""),
            threads=job.gang.threads,
            most_rows=self._most_rows,
        )
        errand.lay_down(self._folder)
        pipe = job.reporter.descriptor
        environ = {**user_code.environment(job.task), FOLDER_ENV: str(self._folder)}
        self._kills = cgroup.oom_kills()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlpools.inference.predictor"],
            env=environ if pipe is None else {**environ, REPORT_FD_ENV: str(pipe)},
            cwd=user_code.folder(job.task),
            stdin=subprocess.DEVNULL,
            pass_fds=() if pipe is None else (pipe,),
        )

    def _crashed(self, code: int) -> None:
        """Tell rank 0 of a process that ended without a word, and start another one."""
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hungry = code == -signal.SIGKILL and cgroup.oom_kills() > self._kills
        loaded = was_loaded(self._folder)
        if not loaded:
            self._me.left()
            raise self._unloadable(how, hungry=hungry)
        if hungry and not self._most_rows:
            log("The process that predicts ran out of memory: it starts again, with smaller batches.")
            self._me.left()  # once, that is no fault of a shard
        else:
            log(f"The process that predicts {how}: another one is started.")
            self._me.crashed(how)
        if hungry:
            self._most_rows = self._fewer_rows()
        self._start()

    def _fewer_rows(self) -> int:
        held = self._most_rows or self._settings.batch_rows
        return max(1, held // _LESS) if held else _FIRST_BOUND

    def _unloadable(self, how: str, *, hungry: bool) -> JobError:
        if hungry:
            return OutOfMemory(
                "The model does not fit into a worker's memory: give the pool's nodes more, or fewer workers."
            )
        return ModelUnreadable(
            f"The process that loads the model {how}. Is its file whole, and of this version of its library?"
        )
