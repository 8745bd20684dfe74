"""Workers in processes of their own, each of which does one job and is killed on the way by SIGKILL.

``python -m tests.integration.killed_worker`` has everything imported, and forks a worker for each line of its input, a
pickled `Task` in hexadecimal; it answers with the worker's exit code, negative for a signal.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

import e2i_fs as fs
from e2i_fs.ops import materialize
from e2i_fs.testing.clock import FakeClock

CHUNK = 5
SETTINGS = {"jobs": {"retries": 0}, "recovery": {"max_attempts": 1000}}


@dataclass(frozen=True)
class Point:
    """Where a worker dies: ``after`` further calls or returns of any function, Python's or C's, when it has come to ``event`` of
    the function ``of`` (the last part of its qualified name) for the ``nth`` time."""

    event: str
    of: str
    nth: int
    after: int


class Killer:
    """Python's profile hook: it counts down, and then there is no process any more."""

    def __init__(self, point: Point, by: signal.Signals) -> None:
        self._point = point
        self._by = by
        self._seen = 0
        self._left: int | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if self._left is None:
            if event == self._point.event and frame.f_code.co_qualname.endswith(self._point.of):
                self._seen += 1
                if self._seen == self._point.nth:
                    self._left = self._point.after
        elif self._left == 0:
            self._left -= 1  # one that was stopped goes on
            signal.pthread_kill(threading.get_ident(), self._by)  # at once: other threads take a while to notice
        else:
            self._left -= 1


@dataclass(frozen=True)
class Task:
    """A job of the view ``v`` for a worker: where, when, of which mode, and where it dies (None: nowhere)."""

    config: Mapping[str, Any]
    now: datetime
    mode: str
    point: Point | None
    by: signal.Signals = signal.SIGKILL


def work(task: Task) -> None:
    """Do the job, in pieces of five rows, and die at its point unless that is not reached."""
    materialize.CHUNK = CHUNK
    with fs.connect(task.config, clock=FakeClock(task.now)) as store:
        jobs = store.jobs(SETTINGS)
        if task.point is not None:
            killer = Killer(task.point, task.by)
            threading.setprofile(killer)  # the job's own thread
            sys.setprofile(killer)
        done = jobs.full(days_back=3) if task.mode == "full" else jobs.incremental()
        sys.setprofile(None)
        assert not done.failed, done.failed


class Nursery:
    """The process that workers are forked from."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, task: Task) -> int:
        """Start a worker; return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(pickle.dumps(task).hex() + "\n")
        self._process.stdin.flush()
        return self._answer()

    def ended(self) -> int:
        """Wait for the worker that was started last; return its exit code, or -SIGSTOP when it was stopped, and then wait again."""
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def nursery(*modules: str) -> Iterator[Nursery]:
    """Start the process that workers are forked from, with these modules imported, and end it afterwards."""
    command = [sys.executable, "-m", "tests.integration.killed_worker", *modules]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


def main(modules: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    for name in modules:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work(pickle.loads(bytes.fromhex(line)))
            os._exit(0)
        print(child, file=answers, flush=True)
        while os.WIFSTOPPED(status := os.waitpid(child, os.WUNTRACED)[1]):
            print(-os.WSTOPSIG(status), file=answers, flush=True)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    from tests.integration import killed_worker

    killed_worker.main(["e2i_fs.ops.jobs", "e2i_fs.pit.latest", "e2i_fs_duckdb.backend", *sys.argv[1:]])
