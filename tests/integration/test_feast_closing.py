"""A repository that is closed while other threads are within SQLite: nobody's connection goes from under a call (X-8)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import e2i_fs as fs
from tests.integration.feast_words import NOW, apply, read, row, view, write


@pytest.fixture
def feast(open_feast: Any, tmp_path: Path) -> Any:
    backend = open_feast({"path": str(tmp_path / "repository")})
    apply(backend, view())
    write(backend, row(NOW, 1))
    return backend


class Pause:
    """A function for SQL that does not return before it is released."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self) -> int:
        self.begun.set()
        assert self.released.wait(20)
        return 7


@pytest.mark.rule("X-8")
@pytest.mark.parametrize("which", ["records", "rows"])
def test_closing_waits_for_the_call_that_another_thread_is_in(feast: Any, which: str) -> None:
    pause, found = Pause(), []

    def call() -> None:
        if which == "records":
            with feast.state._alone() as connection:
                connection.create_function("pause", 0, pause)
            found.extend(feast.state._run("SELECT pause()"))
            return
        with feast.store._alone():
            connection = feast.store._connection()
            connection.create_function("pause", 0, pause)
            found.extend(connection.execute("SELECT pause()").fetchall())

    caller, closer = threading.Thread(target=call), threading.Thread(target=feast.close)
    caller.start()
    assert pause.begun.wait(20)
    closer.start()
    closer.join(0.3)
    waited = closer.is_alive()
    pause.released.set()
    caller.join(20)
    closer.join(20)
    assert waited
    assert found == [(7,)]
    assert not closer.is_alive()
    with pytest.raises(fs.BackendUnavailableError, match="closed"):
        read(feast)


@pytest.mark.rule("X-8")
def test_a_connection_whose_thread_ends_while_it_is_closed_is_closed_once(feast: Any) -> None:
    errors: list[BaseException] = []

    def disconnect() -> None:
        begun.release()
        try:
            store.disconnect()
        except Exception as error:
            errors.append(error)

    begun, threads = threading.Semaphore(0), [threading.Thread(target=disconnect) for _ in range(2)]
    with feast.store._alone():
        feast.store._connection()
        store = feast.store._store()
        for thread in threads:
            thread.start()
            assert begun.acquire(timeout=20)
        threads[0].join(0.3)  # until both wait for their turn
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert read(feast) == row(NOW, 1)


@pytest.mark.rule("X-8", "G-4")
def test_threads_that_are_reading_when_a_repository_is_closed_are_told(feast: Any) -> None:
    started, errors = threading.Barrier(5), []

    def reading() -> None:
        started.wait(20)
        try:
            while True:
                assert read(feast) == row(NOW, 1)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=reading) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait(20)
    feast.close()
    for thread in threads:
        thread.join(20)
    assert [type(error) for error in errors] == [fs.BackendUnavailableError] * 4, errors
