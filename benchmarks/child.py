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

    def __init__(self, what: str, given: dict[str, Any], log: Path) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.child", what, json.dumps(given)],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
            )  # fmt: skip

    def ready(self) -> None:
        """Wait until it is open and warm."""
        self._heard()

    def ask(self, word: str, **given: Any) -> dict[str, Any]:
        """Say a word and return the reply, or raise `Died`."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # why it ended is told below
            self._process.stdin.write(json.dumps({"word": word} | given) + "\n")
            self._process.stdin.flush()
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            log = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Died(f"its process ended with {code}: {' '.join(log)[:200]}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise Died(reply["error"])
        return reply

    def end(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def peak_mb() -> float:
    """Return the most memory that this process had so far, in MB (VmHWM, which a parent's memory is not part of)."""
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
        module, name = sys.argv[1].split(":")
        contender = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
        say({"ready": True})
        for line in sys.stdin:
            told = json.loads(line)
            if told["word"] == "once":
                made = None
                seconds, made = timed(contender.once, told["times"])
                say({"seconds": seconds, "peak_mb": peak_mb()})
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
