"""A contender in a process of its own, kept alive and told "once more" over a pipe.

Imports, opening and warm-up are over before the first repeat, and the most memory that the process ever had is its own. Run
as ``python -m benchmarks.child``; it speaks JSON, a line a message, on the standard output it was born with; what libraries
print goes to the log.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent


class Contender(Protocol):
    """What a contender's class has; ``answer`` makes of what the work gave something to compare."""

    def once(self) -> object:
        """Do the work that is timed."""

    def answer(self, made: Any, folder: str) -> dict[str, Any]:
        """Return the digest of an answer, and whatever else is to be told of it."""


class Died(RuntimeError):
    """A contender's process raised, or ended."""


class Child:
    """The parent's end."""

    def __init__(self, what: str, given: dict[str, Any]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", what, json.dumps(given)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        )  # fmt: skip

    def become(self, what: str, given: dict[str, Any]) -> None:
        """Let the process be another contender, what it has imported in it; wait for it with `ready`."""
        self._say({"word": "become", "what": what, "given": given})

    def ready(self) -> None:
        """Wait until it is open and warm."""
        self._heard()

    @property
    def lives(self) -> bool:
        """Whether its process has not ended."""
        return self._process.poll() is None

    def ask(self, word: str, **given: Any) -> dict[str, Any]:
        """Say a word and return the reply, or raise `Died`."""
        self._say({"word": word} | given)
        return self._heard()

    def _say(self, told: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # why it ended is told when it is heard
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._log.seek(0)
            log = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
            raise Died(f"its process ended with {code}: {' '.join(log)[:200]}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise Died(reply["error"])
        return reply

    def let_go(self) -> None:
        """Let it end when it will."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._process.stdin.close()

    def end(self) -> None:
        """Let it go, and wait until it has ended."""
        assert self._process.stdout is not None
        self.let_go()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


def opened(what: str, given: dict[str, Any]) -> Any:
    """Return a contender, open and warm; the most memory is counted from here on."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    module, name = what.split(":")
    return getattr(importlib.import_module(module), name)(**given)


def peak_mb() -> float:
    """Return the most memory that this process had since `opened`, in MB (VmHWM, which a parent's memory is not part of)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def timed(work: Any, times: int) -> tuple[float, object]:
    """Return the mean seconds of ``times`` runs, and what the last gave; the collector of garbage rests meanwhile."""
    made: object = None
    gc.collect()
    gc.disable()
    try:
        begun = time.perf_counter()
        for _ in range(times):
            made = work()
        return (time.perf_counter() - begun) / times, made
    finally:
        gc.enable()


def main() -> None:
    """Be the contender named, until the pipe is closed."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(reply: dict[str, Any]) -> None:
        out.write(json.dumps(reply) + "\n")

    made: object = None
    try:
        contender = opened(sys.argv[1], json.loads(sys.argv[2]))
        say({"ready": True})
        for line in sys.stdin:
            told = json.loads(line)
            if told["word"] == "once":
                made = None
                seconds, made = timed(contender.once, told["times"])
                say({"seconds": seconds, "peak_mb": peak_mb()})
            elif told["word"] == "become":
                contender = made = None
                contender = opened(told["what"], told["given"])
                say({"ready": True})
            else:
                say(contender.answer(made, told["folder"]))
    except Exception as error:  # told to the parent, which reports it in the table
        import traceback

        traceback.print_exc()
        say(
            {
                "error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"
            }
        )


if __name__ == "__main__":
    main()
