"""Feature servers for tests and benchmarks: `e2i-fs serve` as a process of its own, and one in a thread."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from e2i_fs.server.service import Service
from e2i_fs.server.serving import configured
from e2i_fs.wire.listening import Http, address_of, listen

__all__ = ["ended", "peak", "served", "served_here"]

COMMAND = str(Path(sys.executable).with_name("e2i-fs"))
ENDS = 60.0  # seconds that a process may take to end on a machine that does much else


@contextmanager
def served(
    folder: Path, *options: str, env: Mapping[str, str] | None = None, page: bool = False
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Give the address of a server, or of the catalogue page's, on a free port and its process; it must end well when told to, unless it has ended."""
    command = [COMMAND, "ui" if page else "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.fullmatch(r"(?:Serving|The catalogue is) at (https?://[\d.]+:\d+)\n", line)
            assert found, line + (process.stderr.read() if process.poll() is not None else "")
            yield found[1], process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                ended(process)
        finally:
            process.kill()


@contextmanager
def served_here(service: Service, connections: int = 1_000) -> Iterator[str]:
    """Give the address of a server of the service in a thread of this process."""
    listener = listen("127.0.0.1", 0)
    http = Http(configured(service, connections))
    thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield address_of("127.0.0.1", listener)
    finally:
        http.should_exit = True
        thread.join()


def ended(process: subprocess.Popen[str]) -> None:
    """Wait for a server to end, which it must do well and without a word."""
    out, err = process.communicate(timeout=ENDS)
    assert (process.returncode, out) == (0, ""), err
    assert "Traceback" not in err, err


def peak(pid: int) -> int:
    """Return the most bytes of memory that a process ever had (of Linux's /proc)."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("the memory of another process is read from /proc, which this system has not")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
    assert found
    return int(found[1]) * 1024
