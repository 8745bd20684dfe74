"""The addresses that a user gives the demo: taken apart exactly, refused clearly, never shown with their password."""

from __future__ import annotations

import pytest

from e2i_fs.cli.demo.given import GivenPostgres, GivenRedis
from e2i_fs.errors import RequestError

SECRET = "p@ss:w/rd"
QUOTED = "p%40ss%3Aw%2Frd"

needs_psycopg = pytest.mark.usefixtures("psycopg")


@pytest.fixture
def psycopg() -> None:
    pytest.importorskip("psycopg", reason='needs libpq: pip install "e2i-fs[postgres]"')


@needs_psycopg
def test_a_postgres_is_the_same_database_reached_by_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_PASSWORD", QUOTED)
    given = GivenPostgres.read("postgresql://me:${DEMO_PASSWORD}@db.example:6543/e%202i?sslmode=require")
    assert given.shown == "db.example:6543/e 2i"
    assert given.target == ("db.example", 6543)
    again = GivenPostgres.read(given.uri("127.0.0.1", 1234))
    assert (again.host, again.port) == ("127.0.0.1", 1234)
    assert (again.database, again.user, again.password, again.more) == ("e 2i", "me", SECRET, {"sslmode": "require"})
    assert given.settings("127.0.0.1", 1234) == {
        "type": "postgres", "host": "127.0.0.1", "port": 1234, "database": "e 2i", "user": "me", "password": SECRET,
        "sslmode": "require",
    }  # fmt: skip


@needs_psycopg
def test_a_postgres_on_a_unix_socket_is_reached_by_the_sockets_path() -> None:
    given = GivenPostgres.read("postgresql://me@/e2i?host=/var/run/postgresql")
    assert given.target == ("/var/run/postgresql/.s.PGSQL.5432", 0)
    assert given.settings("127.0.0.1", 1)["password"] == ""


@needs_psycopg
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (f"host=db user=me password={SECRET} dbname=e2i", "no URI"),
        (f"mysql://me:{QUOTED}@db/e2i", "no URI"),
        (f"postgresql://me:{QUOTED}@db", "names no database"),
        (f"postgresql://:{QUOTED}@/", "names no user and no host and no database"),
        (f"postgresql://me:{SECRET}@db/e2i", "%40"),
        (f"postgresql://me:{QUOTED}@db:0/e2i", "65535"),
        (f"postgresql://me:{QUOTED}@one,two/e2i", "several hosts"),
        (f"postgresql://me:{QUOTED}@db/e2i?application_name=x", "'application_name'.*sslmode"),
        (f"postgresql://me:{QUOTED}@db/e2i?sslmode=verify-full", "use verify-ca"),
        (f"postgresql://me:{QUOTED}@db/e2i?colour=red", "libpq can read"),
    ],
)  # fmt: skip
def test_what_is_no_postgres_that_the_demo_can_use_is_refused_without_showing_the_password(
    given: str, says: str
) -> None:
    with pytest.raises(RequestError, match=says) as told:
        GivenPostgres.read(given)
    assert SECRET not in str(told.value)
    assert QUOTED not in str(told.value)


def test_a_redis_keeps_its_keys_and_shows_its_database_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_PASSWORD", "hunter2")
    given = GivenRedis.read("redis.example:6380,db=3,password=${DEMO_PASSWORD}")
    assert given.address("127.0.0.1", 99) == "127.0.0.1:99,db=3,password=hunter2"
    assert given.shown == "redis.example:6380,db=3"
    assert given.target == ("redis.example", 6380)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("redis://:hunter2@db:6379", "no address"),
        ("hunter2", "no address"),
        (":6379,password=hunter2", "no address"),
        ("db:99999,password=hunter2", "no address"),
        ("db:6379,other:6379,password=hunter2", "without sentinels"),
    ],
)
def test_what_is_no_redis_is_refused_without_showing_the_password(given: str, says: str) -> None:
    with pytest.raises(RequestError, match=says) as told:
        GivenRedis.read(given)
    assert "hunter2" not in str(told.value)
