"""`e2i-fs mcp` as a process of its own, spoken to by the package's own client over stdio and over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("mcp")

import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters

import e2i_fs as fs
from tests.mcp_words import answer

COMMAND = str(Path(sys.executable).with_name("e2i-fs"))
ANSWERED = 60.0  # seconds that an answer may take on a machine that does much else
T0 = datetime(2026, 3, 1, tzinfo=UTC)


def noisy(columns):
    """Writes where only the protocol may be: with print, and past Python."""
    import os

    print("noise", flush=True)
    os.write(1, b"more noise\n")
    return {"quiet": [False] * len(columns["any"])}


def waiting(columns):
    """Waits until somebody writes into the pipe that the row names."""
    with open(columns["pipe"][0], encoding="utf-8") as pipe:
        pipe.read()
    return {"done": [True]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A configuration and what is registered before any agent comes."""
    (tmp_path / "e2i_fs.yaml").write_text("backends: [{name: local, backend: duckdb, path: store}]\n", encoding="utf-8")
    patient = fs.Entity("patient", join_keys=["patient_id"], description="A patient on a therapy")
    journey = fs.FeatureView(
        "patient_journey",
        entities=[patient],
        schema=[fs.Field("churn_risk_score", fs.Float64), fs.Field("is_churned", fs.Bool, role="label")],
        tags={"use_case": "churn_prediction"},
        owner="patient-services",
    )
    noise = fs.RequestSource("any", schema=[fs.Field("any", fs.String)])
    pipe = fs.RequestSource("pipe", schema=[fs.Field("pipe", fs.String)])
    with fs.connect(tmp_path / "e2i_fs.yaml") as store:
        store.apply([
            journey,
            fs.on_demand_feature_view("noisy", sources=[noise], schema=[fs.Field("quiet", fs.Bool)])(noisy),
            fs.on_demand_feature_view("hang", sources=[pipe], schema=[fs.Field("done", fs.Bool)])(waiting),
        ])  # fmt: skip
    (tmp_path / "shared").mkdir()
    times = [T0 + timedelta(hours=h) for h in (0, 1, 2)]
    visits = pa.table({"patient_id": ["p1", "p1", "p2"], "event_timestamp": times, "weekly_visits": [1, 2, 2**53 + 1]})
    pq.write_table(visits, tmp_path / "shared" / "visits.parquet")
    return tmp_path


@contextmanager
def http_server(project: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server on a free port, and its address; it must end well when told to."""
    command = [COMMAND, "mcp", "--http", "0", *options]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            address = re.fullmatch(r"Serving MCP at (http://127\.0\.0\.1:\d+/mcp)\n", line)
            assert address, line + (process.stderr.read() if process.poll() is not None else "")
            yield address[1], process
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=ANSWERED)
            assert (process.returncode, out) == (0, ""), err
            assert "Traceback" not in err, err
        finally:
            process.kill()


@asynccontextmanager
async def client(transport: str, project: Path, *options: str) -> AsyncIterator[Client]:
    if transport == "stdio":
        server = StdioServerParameters(command=COMMAND, args=["mcp", *options], cwd=project)
        async with Client(server, read_timeout_seconds=ANSWERED) as connected:
            yield connected
        return
    with http_server(project, *options) as (address, _):
        async with Client(address, read_timeout_seconds=ANSWERED) as connected:
            yield connected


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.rule("R-5", "P-1", "P-12")
def test_an_agent_discovers_plans_registers_trains_serves_and_explains(project: Path, transport: str) -> None:
    async def story() -> None:
        async with client(transport, project, "--allow-register", "--allow-sources", "shared") as agent:

            async def call(tool: str, **arguments: Any) -> dict[str, Any]:
                got = await answer(agent, tool, arguments)
                assert "error" not in got, got
                return got

            assert len((await agent.list_tools()).tools) == 9
            found = (await call("discover_features", text="churn", use_case="churn_prediction"))["features"]
            assert [(f["ref"], f["role"]) for f in found] == [
                ("patient_journey:churn_risk_score", "feature"), ("patient_journey:is_churned", "label"),
            ]  # fmt: skip
            about = await call("describe", name="patient_journey")
            view = {
                "name": "patient_visits",
                "entities": about["definition"]["entities"],
                "fields": [{"name": "weekly_visits", "dtype": "Int64", "description": "Visits in a week"}],
                "source": {"type": "parquet", "path": "shared/visits.parquet"},
                "ttl_seconds": 7 * 86400,
                "tags": {"use_case": "churn_prediction"},
            }
            service = {
                "name": "churn",
                "features": ["patient_visits:weekly_visits", "patient_journey:churn_risk_score"],
            }
            plan = await call("plan_registration", definitions={"views": [view], "services": [service]})
            assert plan["created"] == ["view patient_visits", "service churn"]
            assert (await call("discover_features", text="weekly visits"))["features"] == []
            assert (await call("register", plan_id=plan["plan_id"]))["created"] == plan["created"]

            with fs.connect(project / "e2i_fs.yaml") as store:  # the pipelines write, not the agent
                row = {"patient_id": "p1", "event_timestamp": T0, "churn_risk_score": 0.25, "is_churned": True}
                store.write("patient_journey", [row], to="both")
                assert store.materialize(None, views=["patient_visits"]).runs[0].rows_written == 2

            rows = [
                {"patient_id": p, "event_timestamp": t}
                for p, t in (
                    ("p1", "2026-03-01T00:59:59.999999Z"),
                    ("p1", "2026-03-01T03:00:00+02:00"),
                    ("p2", "2026-03-09T00:00:00Z"),
                )
            ]
            trained = await call(
                "get_training_set", service="churn", labels=["patient_journey:is_churned"], entity_rows=rows
            )
            assert [r["weekly_visits"] for r in trained["rows"]] == [1, 2, None]
            assert [r["is_churned"] for r in trained["rows"]] == [True, True, None]
            assert trained["statuses"]["patient_visits:weekly_visits"] == ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE"]
            assert trained["receipt"]["labels"] == ["patient_journey:is_churned"]

            told = await call("explain", service="churn", entity_row=rows[0])
            verdicts = {v["view"]: [c["verdict"] for c in v["candidates"]] for v in told["views"]}
            assert verdicts == {"patient_visits": ["future", "chosen"], "patient_journey": ["chosen"]}

            served = await call(
                "get_online_features",
                features=["patient_journey:churn_risk_score"],
                entity_rows=[{"patient_id": "p1"}, {"patient_id": "px"}],
            )
            assert [r["churn_risk_score"] for r in served["rows"]] == [0.25, None]
            assert served["statuses"]["patient_journey:churn_risk_score"] == ["PRESENT", "NOT_FOUND"]
            assert served["degraded"] is False and served["provenance"]["served_by"] == "local"
            fresh = await call("freshness", views=["patient_visits"])
            assert fresh["views"][0]["newest_event_timestamp"] == "2026-03-01T02:00:00+00:00"
            assert (await call("health"))["all_up"] is True

    anyio.run(story)


def test_two_clients_at_once_share_the_plans_and_each_plan_is_carried_out_once(project: Path) -> None:
    def view(name: str) -> dict[str, Any]:
        return {"views": [{"name": name, "entities": ["patient"], "fields": [{"name": "x", "dtype": "Int64"}]}]}

    async def together(address: str) -> None:
        results: list[dict[str, Any]] = []
        async with Client(address) as one, Client(address) as two:
            plan = await answer(one, "plan_registration", {"definitions": view("from_one")})
            other = await answer(two, "plan_registration", {"definitions": view("from_two")})

            async def register(agent: Client) -> None:
                results.append(await answer(agent, "register", {"plan_id": plan["plan_id"]}))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(register, one)
                tasks.start_soon(register, two)
                for agent in (one, two) * 5:
                    tasks.start_soon(answer, agent, "discover_features", {"text": "churn"})
            done = [r for r in results if "error" not in r]
            refused = [r["error"]["type"] for r in results if "error" in r]
            assert [r["created"] for r in done] == [["view from_one"]] and refused == ["UnknownPlanError"]
            stale = await answer(two, "register", {"plan_id": other["plan_id"]})
            assert stale["error"]["type"] == "StalePlanError"
            again = await answer(two, "plan_registration", {"definitions": view("from_two")})
            assert (await answer(one, "register", {"plan_id": again["plan_id"]}))["created"] == ["view from_two"]

    with http_server(project, "--allow-register") as (address, _):
        anyio.run(together, address)
        # A page in a browser that found this port is not a client of this machine's.
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert httpx2.post(address, headers=headers, json={}).status_code in (403, 421)
        port = address.rpartition(":")[2].removesuffix("/mcp")
        second = subprocess.run(
            [COMMAND, "mcp", "--http", port], cwd=project, capture_output=True, text=True, check=False
        )
        assert (second.returncode, second.stdout) == (2, "") and "cannot be listened on" in second.stderr


def test_what_is_written_to_stdout_is_the_protocol_and_nothing_else(project: Path) -> None:
    """Spoken to by hand, for the client would not write what is tried here."""
    info = project / "loud-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[e2i_fs]\nloud = loud\n", encoding="utf-8")
    (project / "loud.py").write_text(
        "print('a plugin that prints when it is imported, as Feast does')\n", encoding="utf-8"
    )
    with subprocess.Popen(
        [COMMAND, "mcp", "--max-rows", "3"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        ask = Asking(process.stdin, process.stdout)
        assert ask.introduced()["serverInfo"]["name"] == "e2i-fs"
        got = ask.call("get_online_features", {"features": ["noisy:quiet"], "entity_rows": [{"any": "x"}]})
        assert got["rows"] == [{"any": "x", "quiet": False}]
        for number in ("NaN", "Infinity", "-Infinity"):
            raw = '{"features": ["noisy:quiet"], "entity_rows": [{"any": ' + number + "}]}"
            assert ask.call("get_online_features", raw)["error"]["type"] == "InvalidArgumentsError"
        big = json.dumps({"features": ["noisy:quiet"], "entity_rows": [{"any": "x"}] * 100_000})
        assert ask.call("get_online_features", big)["error"]["type"] == "OverBudgetError"
        process.stdin.write("this is no JSON\n")
        assert ask.call("register", {"plan_id": "plan_x"})["error"]["type"] == "ReadOnlyError"
        process.stdin.close()  # the client is gone
        assert process.stdout.read() == ""
        assert process.stderr is not None
        err = process.stderr.read()
        assert process.wait(ANSWERED) == 0
        assert all(said in err for said in ("as Feast does\n", "noise\n", "more noise\n")) and "Traceback" not in err


def test_a_server_told_to_stop_stops_though_a_call_still_works(project: Path) -> None:
    pipe = project / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [COMMAND, "mcp", "--max-seconds", "0.5"], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        ask = Asking(process.stdin, process.stdout)
        ask.introduced()
        ask.call("health", {})
        hang = {"features": ["hang:done"], "entity_rows": [{"pipe": str(pipe)}]}
        assert ask.call("get_online_features", hang)["error"]["type"] == "OutOfTimeError"
        assert ask.call("health", {})["all_up"] is True
        process.send_signal(signal.SIGTERM)
        assert process.wait(ANSWERED) == 0  # with stdin open, and a thread that never ends
    with fs.connect(project / "e2i_fs.yaml") as store:
        assert store.search("churn")


class Asking:
    """The protocol by hand, a line for a message; every line that comes back must be one."""

    def __init__(self, to: IO[str], back: IO[str]) -> None:
        self._to, self._from, self._asked = to, back, 0

    def introduced(self) -> dict[str, Any]:
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
        found = self._request("initialize", json.dumps(about))
        self._to.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
        return found

    def call(self, tool: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
        raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
        result = self._request("tools/call", f'{{"name": "{tool}", "arguments": {raw}}}')
        found: dict[str, Any] = result["structuredContent"]
        return found

    def _request(self, method: str, params: str) -> dict[str, Any]:
        self._asked += 1
        self._to.write(f'{{"jsonrpc": "2.0", "id": {self._asked}, "method": "{method}", "params": {params}}}\n')
        self._to.flush()
        while True:
            message = json.loads(self._from.readline())
            assert message["jsonrpc"] == "2.0"
            if message.get("id") == self._asked:
                result: dict[str, Any] = message["result"]
                return result
