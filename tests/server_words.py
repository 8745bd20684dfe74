"""Small words for tests of the feature server: a service over a store, and one request in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import anyio
import httpx
import pytest

pytest.importorskip("fastapi")

import e2i_fs as fs
from e2i_fs.server.app import make_app
from e2i_fs.server.keys import Access
from e2i_fs.server.limits import Limits
from e2i_fs.server.service import Service
from e2i_fs.wire.budget import Budget
from e2i_fs.wire.desk import Desk

_APPS: WeakKeyDictionary[Service, Any] = WeakKeyDictionary()  # making one takes longer than a request
READ, WRITE = "a-key-that-may-read", "a-key-that-may-write"
KEYS = Access((READ,), (WRITE,))


def service(store: fs.FeatureStore, **more: Any) -> Service:
    """Return a service of the store, with the limits given."""
    budget = Budget(**{k: more.pop(k) for k in ("max_rows", "max_cells", "max_seconds", "threads") if k in more})
    rest = {k: more.pop(k) for k in ("access", "counts", "clock", "caller") if k in more}
    return Service(Desk(store, budget), Limits(**more), **rest)


def application(at: Service) -> Any:
    """Return the application of a service, always the same."""
    if at not in _APPS:
        _APPS[at] = make_app(at)
    return _APPS[at]


def call(
    at: Service,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> httpx.Response:
    """Send one request to an application of the service in this process; a body that is no bytes is sent as JSON."""
    sent = dict(headers or {})
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    content = (
        body if body is None or isinstance(body, bytes) or hasattr(body, "__aiter__") else json.dumps(body).encode()
    )
    if content is not None:
        sent.setdefault("Content-Type", "application/json")

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(application(at))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, content=content, headers=sent, **more)

    return anyio.run(run)


def post(at: Service, path: str, body: Any, **more: Any) -> Any:
    """Send a body, and return the document that comes back, which must be a good one."""
    answer = call(at, "POST", path, body, **more)
    assert answer.status_code == 200, (answer.status_code, answer.text)
    return answer.json()


def error(answer: httpx.Response) -> dict[str, Any]:
    """Return the error that an answer tells, on our paths or on Feast's."""
    document = answer.json()
    if isinstance(document, str):
        document = json.loads(document)
        assert {"module", "class", "message"} <= document.keys()
    told: dict[str, Any] = document["error"]
    assert told["message"] and told["fix"]
    return told
