"""Load under outages: Feast on a real Redis before DuckDB, while Redis is killed, frozen and restarted empty.

    python -m benchmarks.outage [--seconds 180] [--readers 3] [--rate 300]

Readers in a closed loop look up keys that a writer keeps writing; every unmarked answer is checked against what was
acknowledged before the question and what was sent before the answer. They ask ``rate`` times a second between them, as
agents that think in between do; with ``--rate 0`` as fast as they can, which tells how much may be had, for the times are
then those of threads that wait for each other. Before or after each question the same reader asks the same of a DuckDB store
alone, written to alike, so that both are measured at the same moments. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import bisect
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

import e2i_fs as fs
from tests.servers import RedisServer, running_redis

DEADLINE = 0.25
KEYS = [f"hcp_{n}" for n in range(50)]
REF = "stats:x"
VIEW = fs.FeatureView("stats", entities=[fs.Entity("hcp_id")], schema=[fs.Field("x", fs.Int64)])
FAULTS = ("kill", "freeze", "restart empty")


@dataclass
class Seen:
    """What the threads saw. Lists of (time of the question, seconds, backend) and counts."""

    answers: list[tuple[float, float, str]] = field(default_factory=list)
    alone: list[tuple[float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    degraded: int = 0
    refused_writes: int = 0
    writes: int = 0
    threads: int = 0


class Truth:
    """For each key, its values in the order of their times: sent when, acknowledged when."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, list[tuple[int, float]]] = {key: [] for key in KEYS}
        self._acknowledged: dict[str, list[tuple[float, int]]] = {key: [] for key in KEYS}

    def sent(self, key: str, value: int) -> None:
        """Say that a write was begun."""
        with self._lock:
            self._sent[key].append((value, time.monotonic()))

    def acknowledged(self, key: str, value: int) -> None:
        """Say that it was acknowledged."""
        with self._lock:
            self._acknowledged[key].append((time.monotonic(), value))

    def allows(self, key: str, value: int | None, asked: float, answered: float) -> bool:
        """Return whether ``value`` is right for a question of that time: values only grow, so the greatest one wins."""
        with self._lock:
            acknowledged, sent = self._acknowledged[key], self._sent[key]
            number = bisect.bisect_left(acknowledged, (asked, -1))
            least = max((v for _, v in acknowledged[:number]), default=None)
            most = max((v for v, at in sent if at <= answered), default=None)
        if value is None:
            return least is None
        return (least is None or value >= least) and most is not None and value <= most


def run(*, seconds: float, readers: int, redis: RedisServer, folder: str, rate: float = 300.0) -> dict[str, Any]:
    """Run the load and return the numbers."""
    pause = readers / rate if rate else 0.0
    online = {"type": "redis", "connection_string": redis.address}
    backends = [
        {"name": "primary", "backend": "feast", "path": f"{folder}/feast", "online_store": online},
        {"name": "standby", "backend": "duckdb", "path": f"{folder}/duckdb"},
    ]
    failover = {
        "deadline": DEADLINE,
        "shadow_rate": 0.01,
        "write_deadline": 5.0,
        "breaker": {"open_for": 1.0, "longest": 2.0},
    }
    events: list[Any] = []
    with (
        fs.connect({"backends": backends, "failover": failover}, plugins=[_Listener(events)]) as store,
        fs.connect({"backend": "duckdb", "path": f"{folder}/alone"}) as alone,
    ):
        store.apply([VIEW])
        alone.apply([VIEW])
        truth, seen, stop = Truth(), Seen(), threading.Event()
        for key in KEYS:
            _write(store, truth, seen, key, 0, alone)
        threads = [
            threading.Thread(target=_read, args=(store, truth, seen, stop, n, pause, alone)) for n in range(readers)
        ]
        threads.append(threading.Thread(target=_keep_writing, args=(store, truth, seen, stop, alone)))
        began = time.monotonic()
        for thread in threads:
            thread.start()
        outages = _break_again_and_again(redis, seconds, seen)
        stop.set()
        for thread in threads:
            thread.join(60)
        took = time.monotonic() - began
        done = store.catch_up(timeout=60)
        final = _final(store, truth)
    return _numbers(seen, outages, took, events, {name: d.done for name, d in done.items()}, final)


def _write(store: Any, truth: Truth, seen: Seen, key: str, value: int, alone: Any) -> None:
    times = pa.array([datetime.now(UTC) - timedelta(seconds=1)], pa.timestamp("us", "UTC"))
    rows = pa.table({"hcp_id": [key], "event_timestamp": times, "x": pa.array([value], pa.int64())})
    alone.write("stats", rows, to="online", idempotency_key=f"{key}-{value}")
    truth.sent(key, value)
    seen.writes += 1
    for _ in range(200):
        try:
            store.write("stats", rows, to="online", idempotency_key=f"{key}-{value}")
        except fs.NoEligibleBackendError:
            seen.refused_writes += 1
        else:
            truth.acknowledged(key, value)
            return


def _keep_writing(store: Any, truth: Truth, seen: Seen, stop: threading.Event, alone: Any) -> None:
    value = 0
    while not stop.is_set():
        value += 1
        for key in KEYS:
            if stop.wait(0.02):
                return
            _write(store, truth, seen, key, value, alone)


def _read(store: Any, truth: Truth, seen: Seen, stop: threading.Event, number: int, pause: float, alone: Any) -> None:
    turn = number
    asked = time.monotonic()
    while not stop.wait(max(0.0, asked + pause - time.monotonic())):
        turn += 7
        keys = [KEYS[(turn + n) % len(KEYS)] for n in range(5)]
        if turn % 2:
            _ask_alone(alone, seen, keys)
        asked = time.monotonic()
        try:
            answer = store.get_online_features([REF], [{"hcp_id": key} for key in keys])
        except fs.E2IError as error:
            seen.failed.append(f"{type(error).__name__}: {error}"[:300])
            continue
        answered = time.monotonic()
        seen.answers.append((asked, answered - asked, answer.provenance.served_by))
        if answer.provenance.degraded:
            seen.degraded += 1
            continue
        for key, value in zip(keys, answer.to_dict()["x"], strict=True):
            if not truth.allows(key, value, asked, answered):
                seen.wrong.append(
                    f"{key}={value} by {answer.provenance.served_by} at {asked:.3f}: {answer.provenance.attempts}"
                )
        if not turn % 2:
            _ask_alone(alone, seen, keys)


def _ask_alone(alone: Any, seen: Seen, keys: list[str]) -> None:
    began = time.monotonic()
    answer = alone.get_online_features([REF], [{"hcp_id": key} for key in keys])
    seen.alone.append((began, time.monotonic() - began))
    assert None not in answer.to_dict()["x"]


def _break_again_and_again(redis: RedisServer, seconds: float, seen: Seen) -> list[tuple[str, float, float]]:
    """Let it be well for a while, then broken, in turns; return each outage with its begin and end."""
    outages = []
    until = time.monotonic() + seconds
    span = max(2.0, min(8.0, seconds / (3 * len(FAULTS))))
    turn = 0
    _wait(span, seen)
    while time.monotonic() < until:
        fault = FAULTS[turn % len(FAULTS)]
        turn += 1
        begin = time.monotonic()
        if fault == "freeze":
            redis.freeze()
            _wait(span, seen)
            redis.thaw()
        else:
            redis.kill()
            _wait(span, seen)
            if fault == "restart empty":
                redis.empty()
            redis.start()
        outages.append((fault, begin, time.monotonic()))
        _wait(span, seen)
    return outages


def _wait(seconds: float, seen: Seen) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        seen.threads = max(seen.threads, threading.active_count())
        threading.Event().wait(min(0.1, left))


def _final(store: Any, truth: Truth) -> dict[str, int]:
    """Return how many keys are wrong in the end, on each backend by itself."""
    wrong = {}
    now = time.monotonic()
    for name, other in (("primary", "standby"), ("standby", "primary")):
        store.isolate(other)
        values = store.get_online_features([REF], [{"hcp_id": key} for key in KEYS]).to_dict()["x"]
        store.release(other)
        wrong[name] = sum(not truth.allows(key, value, now, now) for key, value in zip(KEYS, values, strict=True))
    return wrong


def _numbers(
    seen: Seen, outages: list[tuple[str, float, float]], took: float, events: list[Any],
    caught_up: dict[str, bool], final: dict[str, int],
) -> dict[str, Any]:  # fmt: skip
    during = [s for at, s, _ in seen.answers if any(b <= at < e for _, b, e in outages)]
    outside = [s for at, s, _ in seen.answers if not any(b - 0.1 <= at < e + 0.1 for _, b, e in outages)]
    opened = [s for at, s, by in seen.answers if by == "standby" and any(b + 2.0 <= at < e for _, b, e in outages)]
    alone = [s for at, s in seen.alone if any(b + 2.0 <= at < e for _, b, e in outages)]
    back = []
    faults: dict[str, dict[str, list[float]]] = {}
    for fault, begin, end in outages:
        of = faults.setdefault(fault, {"during": [], "back": []})
        of["during"] += [s for at, s, _ in seen.answers if begin <= at < end]
        first = next((at for at, _, by in seen.answers if at > end and by == "primary"), None)
        if first is not None:
            back.append(first - end)
            of["back"].append(first - end)
    kinds = Counter(type(event).__name__ for event in events)
    return {
        "seconds": round(took, 1), "requests": len(seen.answers) + len(seen.failed),
        "requests_per_second": round((len(seen.answers) + len(seen.failed)) / took, 1),
        "failed": len(seen.failed), "failures": seen.failed[:3],
        "wrong_unmarked": len(seen.wrong), "wrong": seen.wrong[:3], "degraded": seen.degraded,
        "writes": seen.writes, "writes_refused_and_repeated": seen.refused_writes,
        "by_fault": {
            fault: {"outages": len(of["back"]), "ms": _ms(of["during"]), "seconds_to_fail_back": [round(s, 2) for s in of["back"]]}
            for fault, of in faults.items()
        },
        "outages": dict(Counter(name for name, _, _ in outages)),
        "ms_healthy": _ms(outside), "ms_during_outages": _ms(during), "ms_after_opening": _ms(opened), "ms_standby_alone": _ms(alone),
        "after_opening_against_alone": _ratios(_ms(opened), _ms(alone)),
        "fail_backs": len(back), "seconds_to_fail_back": round(max(back), 2) if back else None,
        "most_threads": seen.threads, "events": dict(kinds), "caught_up": caught_up, "wrong_in_the_end": final,
    }  # fmt: skip


def _ms(seconds: list[float]) -> dict[str, float] | None:
    if len(seconds) < 2:
        return None
    cuts = statistics.quantiles(seconds, n=1000)
    found = {"p50": cuts[499], "p99": cuts[989], "p99.9": cuts[998], "max": max(seconds)}
    return {name: round(value * 1000, 2) for name, value in found.items()} | {"n": len(seconds)}


def _ratios(one: dict[str, float] | None, other: dict[str, float] | None) -> dict[str, float] | None:
    if one is None or other is None:
        return None
    return {name: round(one[name] / other[name], 2) for name in ("p50", "p99")}


class _Listener:
    def __init__(self, events: list[Any]) -> None:
        self._events = events

    @fs.hookimpl
    def e2i_fs_on_event(self, event: Any) -> None:
        if type(event).__name__ in ("BreakerMoved", "ParityMoved", "Replayed"):
            self._events.append(event)


def main() -> int:
    """Run it and print the numbers; exit with 1 when an answer failed or was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--readers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second, of all readers; 0: no pause")
    given = parser.parse_args()
    with running_redis() as redis, tempfile.TemporaryDirectory() as folder:
        numbers = run(seconds=given.seconds, readers=given.readers, redis=redis, folder=folder, rate=given.rate)
    print(json.dumps(numbers, indent=1))
    return 1 if numbers["failed"] or numbers["wrong_unmarked"] or any(numbers["wrong_in_the_end"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
