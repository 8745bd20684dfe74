"""What the tests of the Feast backend share: one Redis for all of them, and a backend on each online store."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from e2i_fs.testing.clock import FakeClock
from tests import servers
from tests.integration.feast_words import MAKE, ZONE
from tests.once import once

Open = Callable[..., Any]
_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def redis_address() -> Iterator[str]:
    with servers.redis_server() as address:
        yield address


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    pytest.importorskip("adbc_driver_postgresql", reason='needs the driver: pip install "e2i-fs[postgres]"')
    # It stands in Tokyo, and no answer depends on that (T-4).
    with servers.running_postgres(timezone="Asia/Tokyo", datestyle="SQL, DMY") as server:
        yield server


@pytest.fixture
def postgres(postgres_server: servers.PostgresServer) -> str:
    """The address of an empty database."""
    return postgres_server.make(f"d{next(_NUMBERS)}")


@pytest.fixture(params=["sqlite", "redis"])
def online_store(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    if request.param == "sqlite":
        return {"type": "sqlite"}
    return {"type": "redis", "connection_string": servers.patient(request.getfixturevalue("redis_address"))}


@pytest.fixture
def options(online_store: Mapping[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Options of a repository of its own; the project keeps its rows apart in the one Redis."""
    project = f"p{os.getpid()}_{abs(hash(tmp_path))}"
    return {"path": str(tmp_path / "repository"), "online_store": dict(online_store), "project": project}


@pytest.fixture(scope="session")
def feast_library() -> Any:
    """Feast itself, imported as the backend imports it."""
    if importlib.util.find_spec("feast") is None:
        pytest.skip('needs Feast: pip install "e2i-fs[feast]"')
    from e2i_fs_feast.importing import import_feast

    import_feast("")
    return importlib.import_module("feast")


@pytest.fixture
def open_feast(clock: FakeClock, feast_library: Any) -> Iterator[Open]:
    """Open Feast backends that are closed when the test ends."""
    from e2i_fs_feast import open_backend

    with ExitStack() as stack:

        def opener(options: Mapping[str, Any], **more: Any) -> Any:
            backend = open_backend(name="feast", options={**options, **more}, clock=clock, base=os.getcwd())
            stack.callback(backend.close)
            return backend

        yield opener


@pytest.fixture
def feast(open_feast: Open, options: Mapping[str, Any]) -> Any:
    return open_feast(options)


@pytest.fixture(scope="session")
def feast_templates(tmp_path_factory: pytest.TempPathFactory, feast_library: Any) -> Path:
    """A folder with the template as made (`never_applied`) and applied and materialised by Feast in New York (`demo`)."""

    def make(folder: Path) -> None:
        made = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", MAKE, str(folder)],
            env={**os.environ, "TZ": ZONE},
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr

    return once(tmp_path_factory, "feast_templates", make)
