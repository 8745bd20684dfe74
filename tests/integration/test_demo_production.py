"""The demo in production's shape on real servers: those that it starts, and those that somebody else runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2i_fs.cli.app import run
from e2i_fs.testing.servers import PostgresServer, RedisServer, find_redis
from tests.servers import running_postgres

pytest.importorskip("sklearn", reason="the demo trains a model: pip install e2i-fs[demo]")
pytest.importorskip("matplotlib", reason="the demo draws plots: pip install e2i-fs[demo]")
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("feast", "redis", "psycopg", "adbc_driver_postgresql")),
    reason='needs Feast and the drivers of both servers: pip install "e2i-fs[feast,redis,postgres]"',
)

CLAIMS = 33
SECRET, QUOTED, REDIS_SECRET = "p@ss:w/rd", "p%40ss%3Aw%2Frd", "s3cret-of-redis"
OWNED = "CREATE ROLE demo LOGIN PASSWORD 'p@ss:w/rd'", "CREATE DATABASE mine OWNER demo", "CREATE ROLE weak LOGIN"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of somebody else's, with a table of theirs in it."""
    with running_postgres() as server:
        server.execute(*OWNED)
        server.execute("CREATE TABLE precious AS SELECT 1 AS x", at=mine(server))
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis of somebody else's, with a key of theirs in its first database."""
    binary = find_redis()
    if binary is None:
        pytest.skip("needs redis-server: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="e2i_fs_redis_") as folder:
        server = RedisServer(binary, folder)
        server.start("--requirepass", REDIS_SECRET)
        try:
            client(server, 0).set("precious", 1)
            yield server
        finally:
            server.kill()


def mine(server: PostgresServer) -> str:
    return server.address.removesuffix(server.database) + "mine"


def client(server: RedisServer, database: int) -> Any:
    import redis

    return redis.Redis(port=server.port, db=database, password=REDIS_SECRET)


def rows(server: PostgresServer, question: str) -> list[Any]:
    import psycopg

    with psycopg.connect(mine(server)) as connection:
        return [value for (value,) in connection.execute(question).fetchall()]


def demo(out: Path, *words: str, **environment: str) -> tuple[Any, str]:
    """Run the demo in a process of its own; return its document, every claim of which holds, and the report."""
    command = [sys.executable, "-c", "from e2i_fs.cli import main; main()", "demo", "--json", "--out", str(out)]
    done = subprocess.run(
        [*command, "--scale", "0.05", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=out.parent,
        env=os.environ | environment,
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0, (told, done.stderr)
    assert told["all_hold"] is True
    assert len(told["claims"]) == CLAIMS
    page = Path(told["report"]).read_text()
    assert f"{CLAIMS} of {CLAIMS}" in page
    for secret in (SECRET, QUOTED, REDIS_SECRET):
        assert secret not in done.stdout + done.stderr + page
    return told, page


def check_who_served(told: Any) -> None:
    """Look at the requests themselves: PostgreSQL away moves no online request, Redis away moves each."""
    who: dict[str, set[Any]] = {}
    for r in told["requests"]:
        who.setdefault(r["phase"], set()).add((r["served_by"], r["degraded"]))
    assert who["PostgreSQL away"] == who["both up"] == who["healed"] == {("primary", False)}
    assert who["primary away"] == who["after a write"] == who["primary back"] == {("standby", False)}
    assert who["standby away too"] == {("primary", True)}
    assert all(r["right"] for r in told["requests"] if not r["degraded"])
    first_away = next(r for r in told["requests"] if r["phase"] == "primary away")
    assert "BackendUnavailableError" in first_away["why"], "the fault is a real one"


def test_on_servers_that_it_starts_and_kills_every_claim_holds_and_none_of_them_is_left(tmp_path: Path) -> None:
    with running_postgres():  # skips, where there is none
        pass
    if find_redis() is None:
        pytest.skip("needs redis-server: apt-get install redis-server")
    told, page = demo(tmp_path / "out", "--production")
    check_who_served(told)
    assert told["production"]["faults"] == [
        "its PostgreSQL server is killed (SIGKILL)",
        "its Redis server is killed (SIGKILL)",
    ]
    import psycopg
    import redis

    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"postgresql://e2i@{told['production']['postgres']}")
    host, port = told["production"]["redis"].split(":")
    with pytest.raises(redis.exceptions.ConnectionError):
        redis.Redis(host, int(port)).ping()
    assert "e2i-fs demo --scale 0.05 --seed 7 --production<" in page


def test_servers_of_somebody_else_are_not_killed_and_are_left_as_they_were(
    tmp_path: Path, postgres: PostgresServer, redis: RedisServer
) -> None:
    address = f"postgresql://demo:${{DEMO_PASSWORD}}@127.0.0.1:{postgres.port}/mine"
    words = ["--postgres", address, "--redis", f"127.0.0.1:{redis.port},db=2,password=${{DEMO_REDIS}}"]
    began = rows(postgres, "SELECT pg_postmaster_start_time()")
    told, page = demo(tmp_path / "out", *words, DEMO_PASSWORD=QUOTED, DEMO_REDIS=REDIS_SECRET)
    check_who_served(told)
    assert told["production"]["faults"] == [
        "the connection to its PostgreSQL is cut",
        "the connection to its Redis is cut",
    ]
    assert rows(postgres, "SELECT pg_postmaster_start_time()") == began
    schemas = rows(
        postgres, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    )
    assert schemas == ["public"]
    assert rows(postgres, "SELECT x FROM precious") == [1]
    assert (client(redis, 2).dbsize(), client(redis, 0).dbsize()) == (0, 1)
    assert client(redis, 2).info("stats")["expired_keys"] == 0
    assert f"--postgres postgresql://127.0.0.1:{postgres.port}/mine --redis 127.0.0.1:{redis.port},db=2" in page
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(s.encode() in content for s in (SECRET, QUOTED, REDIS_SECRET)), file


@pytest.mark.parametrize(
    ("user", "place", "code", "says"),
    [
        ("e2i", "db=0", 2, "holds 1 key, and the demo takes an empty one only.*db=1"),
        ("e2i", "db=2,colour=red", 2, "colour"),
        ("weak", "db=2", 2, "lets this user make no schema.*GRANT CREATE"),
        ("nobody", "db=2", 3, "cannot be used: .*nobody"),
    ],
)
def test_servers_that_hold_other_data_or_allow_too_little_are_refused_before_anything_is_made(
    user: str, place: str, code: int, says: str, tmp_path: Path, postgres: PostgresServer, redis: RedisServer,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["--postgres", f"postgresql://{user}@127.0.0.1:{postgres.port}/mine"]
    words += ["--redis", f"127.0.0.1:{redis.port},{place},password={REDIS_SECRET}"]
    assert run(["demo", "--json", "--out", str(tmp_path / "out"), *words]) == code
    told = json.loads(capsys.readouterr().out)["error"]["message"]
    assert re.search(says, told), told
    assert REDIS_SECRET not in told
    assert not (tmp_path / "out").exists()
    assert rows(postgres, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'e2i_fs_demo%'") == [0]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--postgres", "postgresql://me@127.0.0.1:1/e2i"], 3, "Nobody answers as PostgreSQL at 127.0.0.1:1/e2i"),
        (["--postgres", "postgresql://me@127.0.0.1:1"], 2, "names no database"),
        (["--production", "--primary", "sqlite"], 2, "Leave one of the two out"),
    ],
)
def test_what_cannot_be_had_is_said_at_once(
    words: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "--json", "--out", str(tmp_path / "out"), *words]) == code
    assert says in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_somebodys_own_is_refused_before_any_server_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    words = ["--postgres", "postgresql://me@127.0.0.1:1/e2i"]
    assert run(["demo", "--json", "--out", str(tmp_path), *words]) == 2
    assert "no demo made" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_one_that_is_told_to_stop_in_the_middle_of_an_outage_still_leaves_the_servers_as_they_were(
    tmp_path: Path, postgres: PostgresServer, redis: RedisServer
) -> None:
    """SIGTERM, as soon as the demo has said that PostgreSQL is away."""
    command = [sys.executable, "-u", "-c", _STOPPED, f"postgresql://e2i@127.0.0.1:{postgres.port}/mine"]
    command.append(f"127.0.0.1:{redis.port},db=4,password={REDIS_SECRET}")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 128 + 15, done.stderr
    assert done.stdout.split() == ["1", "1"], "there was something to remove"
    assert rows(postgres, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'e2i_fs_demo%'") == [0]
    assert client(redis, 4).dbsize() == 0


_STOPPED = """
import os, signal, sys
from e2i_fs.cli.demo import production
from e2i_fs.cli.demo.given import GivenRedis
from e2i_fs.cli.demo_command import _ended_by_signal
with _ended_by_signal(), production.production(sys.argv[1], sys.argv[2]) as servers:
    with GivenRedis.read(servers.online.address).client() as client:
        client.set(b"key of " + servers.project.encode(), 1)
    print(*servers.left())
    servers.database.take_away()
    servers.online.take_away()
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("find_postgres", "apt-get install postgresql.*--postgres"),
        ("find_redis", "apt-get install redis-server.*--redis"),
    ],
)
def test_without_the_programs_of_a_server_it_says_what_to_install_or_to_give(
    missing: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    postgres: PostgresServer,
) -> None:  # fmt: skip
    monkeypatch.setattr(f"e2i_fs.cli.demo.servers.{missing}", lambda: None)
    words = [] if missing == "find_postgres" else ["--postgres", f"postgresql://e2i@127.0.0.1:{postgres.port}/mine"]
    assert run(["demo", "--production", "--json", "--out", str(tmp_path / "out"), *words]) == 2
    told = json.loads(capsys.readouterr().out)["error"]["message"]
    assert re.search(says, told), told
