"""The OpenAPI document is true: whatever it allows, and much that it does not, is never answered with a defect."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import e2i_fs as fs
from e2i_fs.server.app import make_app
from e2i_fs.testing.clock import FakeClock
from tests.kit import NOW, at, view
from tests.server_words import KEYS, WRITE, service

SENT = {"X-API-Key": WRITE}


def test_no_request_is_a_defect_and_every_answer_is_as_described(tmp_path: Path) -> None:
    """Schemathesis draws requests from the document, right and wrong ones; drawing them is what takes the time."""
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.specs.openapi import checks

    wanted = [
        schemathesis.checks.not_a_server_error, checks.content_type_conformance, checks.response_schema_conformance,
        checks.status_code_conformance,
    ]  # fmt: skip
    seen: set[tuple[str, int]] = set()
    with fs.connect({"backend": "memory"}, clock=FakeClock(NOW)) as store:
        store.apply([view(tmp_path, [("h", at(700), 7)])])
        store.materialize(None)
        schema = schemathesis.openapi.from_asgi("/openapi.json", make_app(service(store, access=KEYS)), headers=SENT)
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        for found in schema.get_all_operations():
            operation = found.ok()
            for mode in modes:

                @hypothesis.settings(
                    max_examples=4, derandomize=True, deadline=None, database=None,
                    suppress_health_check=list(hypothesis.HealthCheck),
                )  # fmt: skip
                @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
                def ask(case: Any) -> None:
                    answer = case.call_and_validate(checks=wanted, headers=SENT)
                    seen.add((case.operation.label, answer.status_code))

                if mode is schemathesis.GenerationMode.POSITIVE:
                    ask()
                else:
                    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong with its requests
                        ask()
    asked = {label for label, _ in seen}
    assert len(asked) == len(list(schema.get_all_operations()))
    assert {status for _, status in seen} >= {200, 404, 422}
