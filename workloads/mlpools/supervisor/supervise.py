"""The supervisor's loop: one thread decides, the others only bring it news."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Phase
from mlpools.contract.tasks import INFERENCE
from mlpools.contract.wiring import CODE_LOCK, PACKAGES_LOCK
from mlpools.locations import child_url
from mlpools.supervisor import cgroup, gang
from mlpools.supervisor.final import (
    Circumstances,
    complete,
    judge,
    save_dumps,
    save_log,
    waits_for_others,
    write_termination,
)
from mlpools.supervisor.logs import say
from mlpools.supervisor.process import Worker, fabric_command, fetcher_command, installer_command
from mlpools.supervisor.progress import Progress
from mlpools.supervisor.roll import Beat, Verdict
from mlpools.supervisor.settings import Settings
from mlpools.supervisor.status import StatusServer, taken

_TICK_SECONDS = 0.5
#: A worker that hung gets so long to write down where, before it is killed.
_ABORT_SECONDS = 2.0
#: The end of a pod that was told to stop takes its share of the grace period: log, message, goodbye.
_ENDING_SHARE = 0.1
#: After rank 0 committed the result, or another rank was lost, a worker gets so long to end by itself.
_SETTLE_SECONDS = 1.5
#: A rank that waited for others is silent for so long about its hang: theirs is noticed by then.
_OTHERS_SECONDS = 5.0
#: Workers get so long to save their work after the program that started this one is gone.
_ORPHAN_SECONDS = 5.0


class Supervisor:
    """One pod's supervisor, from start to exit code."""

    def __init__(self, settings: Settings, command: Sequence[str]) -> None:
        self._settings = settings
        self._command = command
        #: The pods, and the workers of one, are no gang.
        self._loose = settings.task.framework == INFERENCE
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._progress = Progress(settings.rank, settings.task.attempt)
        self._limits = cgroup.limits()
        self._oom_kills = cgroup.oom_kills()
        self._verdict = Verdict()
        self._workers: list[Worker] = []
        self._stopping = False
        self._hung = ""
        self._preparing = False
        self._token = os.urandom(32).hex()
        #: Monotonic time after which running workers are killed; None = they may go on.
        self._kill_at: float | None = None

    def run(self) -> int:
        """Run the task to its end and return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda received, _: self._events.put(("signal", received)))
        if self._settings.lifeline is not None:
            threading.Thread(target=self._hold, args=(self._settings.lifeline,), daemon=True).start()
        task = self._settings.task
        self._server_and_gang()
        if self._is_prepared():
            self._start(self._command, task.workers_per_node)
            self._attend()
        self._wait_for_cause()
        return self._end()

    def _hold(self, lifeline: int) -> None:
        """Wait for the other end of a pipe to be closed, on purpose or by the death of its holder."""
        os.set_inheritable(lifeline, False)
        os.read(lifeline, 1)
        self._events.put(("orphaned", None))

    def _server_and_gang(self) -> None:
        settings, task = self._settings, self._settings.task
        routes = {
            ("GET", "/status"): lambda _: self._status(),
            ("GET", "/healthz"): lambda _: "{}",
            ("GET", "/others"): lambda _: self._others(),
        }
        self._gang: gang.Member = gang.Alone()
        own = Beat(uid=task.uid, attempt=task.attempt, rank=settings.rank)
        if settings.leads:
            routes["POST", "/token"] = self._give_token
        if task.nodes > 1 and settings.leads:
            routes["GET", "/code"] = taken(Path(settings.code_folder, CODE_LOCK))
            routes["GET", "/packages"] = taken(Path(settings.packages_folder, PACKAGES_LOCK))
            leader = gang.Leader(own, task.nodes, self._heard_verdict, loose=self._loose)
            routes["POST", "/gang"] = leader.answer
            self._gang = leader
        StatusServer(settings.status_port, routes)
        if task.nodes > 1 and not settings.leads:
            self._gang = gang.Follower(
                own, task.nodes, task.coordinator, settings.leader_port, self._heard_verdict
            )

    def _status(self) -> str:
        most, rank = self._gang.fullest(cgroup.memory_used())
        verdict, report = self._verdict, self._progress.report()
        report = dataclasses.replace(report, memory_bytes=most, memory_rank=rank)
        return dataclasses.replace(
            report, slow_times=verdict.slow_times, slow_rank=verdict.slow_rank
        ).to_json()

    def _others(self) -> str:
        """Tell rank 0's worker whether all others are there, and whether all have ended well."""
        well = all(worker.exit_code == Exit.DONE for worker in self._workers[1:])
        formed = self._verdict.formed or self._settings.task.nodes == 1
        return json.dumps({"formed": formed, "endedWell": well and self._gang.others_ended_well()})

    def _give_token(self, body: bytes) -> str:
        """Give the token to who knows the job's UID and attempt, as its pods do and a stranger does not."""
        asked, task = json.loads(body), self._settings.task
        known = (asked.get("uid"), asked.get("attempt")) == (task.uid, task.attempt)
        return json.dumps({"token": self._token} if known else {})

    def _heard_verdict(self, verdict: Verdict) -> None:
        self._events.put(("verdict", verdict))

    def _is_prepared(self) -> bool:
        """Do what comes before the work, if anything, and tell whether the workers may start."""
        task = self._settings.task
        steps = [(fetcher_command(), 1)] * bool(task.code) + [(installer_command(), 1)] * bool(task.packages)
        if task.fabric and task.nodes > 1:
            steps.append((fabric_command(), task.workers_per_node))
        return all(self._prepare(command, number) for command, number in steps)

    def _prepare(self, command: Sequence[str], number: int) -> bool:
        self._preparing = True  # it has time-outs of its own: a long download is no hang
        self._start(command, number)
        self._attend()
        self._hear_out()
        self._preparing = False
        if self._stopping or any(worker.exit_code != Exit.DONE for worker in self._workers):
            return False
        self._workers = []
        return True

    def _attend(self) -> None:
        """Take what comes until every child has ended."""
        while any(worker.running for worker in self._workers):
            self._wait()
            self._watch()

    def _hear_out(self) -> None:
        """Take the last notes: a process may have ended before they were read."""
        while not self._events.empty():
            self._wait()

    def _start(self, command: Sequence[str], number: int) -> None:
        threads = self._limits.threads(number)
        for local_rank in range(number):
            environ = self._settings.worker_environment(local_rank, threads)
            self._workers.append(Worker(command, environ, self._events, int(environ["RANK"])))

    def _wait(self) -> None:
        """Take the next piece of news, or none for the length of a tick."""
        try:
            kind, value = self._events.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            return
        if kind == "note":
            worker, note = value
            if worker is self._workers[0]:
                self._progress.add(note)
            if note.own_seconds is not None:
                worker.own_seconds = note.own_seconds
                self._gang.working(max(each.own_seconds for each in self._workers))
        elif kind == "verdict":
            self._take(value)
        elif kind == "orphaned":
            self._stop("the end of the program that started it")
            self._kill_within(_ORPHAN_SECONDS)
        elif value == signal.SIGCHLD:
            self._reap()
        else:
            self._stop(signal.Signals(value).name)

    def _take(self, verdict: Verdict) -> None:
        if verdict.formed and not self._verdict.formed and not self._loose:
            say("the gang is complete")
        if verdict.slow != self._verdict.slow:
            say(verdict.slow.sentence() if verdict.slow else "no rank holds up the others any more")
        self._verdict = verdict
        if verdict.lost:
            say(f"the gang lost a rank. {verdict.lost}")
            self._kill_within(0.0)
        elif verdict.done and not self._settings.leads:
            self._kill_within(2 * _SETTLE_SECONDS)
        elif verdict.stopping:
            self._stop("its gang")

    def _reap(self) -> None:
        """Collect every ended child: the workers', and as PID 1 those whose parents are gone."""
        by_pid = {worker.pid: worker for worker in self._workers}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in by_pid:
                by_pid[pid].ended(status)
                bad = os.waitstatus_to_exitcode(status) != Exit.DONE
                if len(self._workers) > 1 and self._ends_all(by_pid[pid], bad=bad):
                    self._kill_within(_SETTLE_SECONDS)

    def _ends_all(self, worker: Worker, *, bad: bool) -> bool:
        """Whether a worker's end is the end of the pod's others: of a gang a bad one, else rank 0's."""
        return worker.rank == 0 if self._loose and not self._preparing else bad

    def _stop(self, by: str) -> None:
        if self._stopping:
            return
        self._stopping = True
        say(f"told to stop by {by}; the workers stop at the next boundary")
        self._gang.stopping()
        self._kill_within(self._settings.task.grace_period_seconds * (1 - _ENDING_SHARE))
        for worker in self._workers:
            worker.send(signal.SIGTERM)

    def _watch(self) -> None:
        """Act on what time brought: hung workers and expired deadlines."""
        now = time.monotonic()
        limit = 0 if self._preparing else self._settings.task.hang_timeout_seconds
        for worker in self._workers:
            still = now - worker.heard
            if limit and still > limit and worker.running and not self._hung:
                report = self._progress.report()
                self._hung = (
                    f"made no progress for {still:.0f} s "
                    f"(in phase {report.phase}, last finished step {report.step})."
                )
                say(f"rank {worker.rank} {self._hung}")
                for other in self._workers:
                    other.send(signal.SIGABRT)  # its fault handler writes where it stands into the log
                self._kill_within(_ABORT_SECONDS)
        if self._kill_at is not None and now >= self._kill_at:
            for worker in self._workers:
                worker.send(signal.SIGKILL)

    def _kill_within(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self._kill_at = deadline if self._kill_at is None else min(self._kill_at, deadline)

    def _wait_for_cause(self) -> None:
        """Give the gang a moment to say which rank was lost or hangs, if that is what ended the worker."""
        waited = bool(self._hung) and waits_for_others(self._workers)
        deadline = time.monotonic() + (_OTHERS_SECONDS if waited else _SETTLE_SECONDS)
        while time.monotonic() < deadline and not self._verdict.lost and self._settings.task.nodes > 1:
            if not waited and self._judge().code != Exit.PEER_LOST:
                return
            self._wait()

    def _judge(self) -> Final:
        around = Circumstances(
            stopping=self._stopping,
            hung=self._hung,
            lost=self._verdict.lost,
            done=self._verdict.done,
            out_of_memory=cgroup.oom_kills() > self._oom_kills,
            memory=self._limits.memory,
            loose=self._loose,
        )
        return judge(self._workers, around, self._progress.report())

    def _end(self) -> int:
        self._hear_out()
        self._progress.enter(Phase.ENDED.value)
        task = self._settings.task
        outputs = {"logsURL": child_url(str(task.output["url"]), "logs")}
        final = complete(self._judge(), self._progress.report(), outputs)
        say(f"rank {final.rank} ended with {Exit(final.code).name}. {final.message}".rstrip())
        write_termination(final, self._settings.termination_log)
        for worker in self._workers:
            save_log(worker.tail.bytes(), str(task.output["url"]), task.attempt, worker.rank)
        save_dumps(Path(self._settings.dumps_folder), str(task.output["url"]), task.attempt)
        self._gang.goodbye(final.code, final.message)
        return int(final.code)
