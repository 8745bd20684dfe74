"""Our own paths: what Feast's shapes cannot say, and what its server does not do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Request, Response

from e2i_fs.server import catalogue
from e2i_fs.server.arrow import arrow_rows, historical_in_arrow, wants_arrow
from e2i_fs.server.body import taken
from e2i_fs.server.openapi import ARROW_BODY, body_of, refusals
from e2i_fs.server.refusals import NotHereError
from e2i_fs.server.service import ARROW, JSON, Service, json_response, require_media
from e2i_fs.wire import finding, retrieving, writing
from e2i_fs.wire.arguments import Strict

__all__ = ["v1_router"]

M = TypeVar("M", bound=Strict)

_Refs = Annotated[list[str] | None, Query(description="With a body of Arrow: references; repeat for more.")]
_Service = Annotated[
    str | None, Query(alias="service", description="With a body of Arrow: a feature service instead of features.")
]
_Time = Annotated[str | None, Query(description="With a body of Arrow: forget what became known after it (ISO 8601).")]
_Flag = Annotated[bool | None, Query(description="With a body of Arrow: as in JSON.")]
_Text = Annotated[str | None, Query(description="With a body of Arrow: as in JSON.")]
_Statuses = Annotated[
    bool, Query(description="With an answer in Arrow: a column NAME__status after each feature's own columns.")
]
_To = Annotated[Literal["online", "offline", "both"] | None, Query(description="With a body of Arrow: as in JSON.")]
_Kind = Annotated[
    Literal["entity", "view", "on-demand view", "service"] | None,
    Query(description="Only needed when several kinds have the name."),
]


def v1_router(service: Service, reads: Sequence[Any], writes: Sequence[Any]) -> APIRouter:
    """Return our paths. ``reads`` and ``writes`` are the dependencies of those that read and those that write."""
    router = APIRouter(prefix="/v1", tags=["e2i_fs"], responses=refusals())
    desk = service.desk

    @router.post(
        "/online", response_model=retrieving.Answered, dependencies=reads, openapi_extra=body_of(retrieving.ToServe)
    )
    async def online(request: Request) -> Response:
        """Features as they are now, with statuses, event times and provenance (O-2, O-3, O-5, X-7)."""
        return await service.answer(request, retrieving.ToServe, retrieving.online)

    @router.post(
        "/historical", response_model=retrieving.TrainingSet, dependencies=reads,
        openapi_extra=body_of(retrieving.ToTrain, ARROW_BODY),
        responses={200: {"content": ARROW_BODY, "description": "A training set, as JSON or (by Accept) as an Arrow stream."}},
    )  # fmt: skip
    async def historical(
        request: Request,
        features: _Refs = None,
        feature_service: _Service = None,
        labels: _Refs = None,
        full_feature_names: _Flag = None,
        as_of: _Time = None,
        filter_by_created_timestamp: _Flag = None,
        timestamp_column: _Text = None,
        strict: _Flag = None,
        statuses: _Statuses = False,
    ) -> Response:
        """Features of entity rows, each as of its own time (P-1 to P-12)."""
        in_arrow = wants_arrow(request)
        asked = {
            "features": features, "service": feature_service, "labels": labels, "as_of": as_of,
            "full_feature_names": full_feature_names, "filter_by_created_timestamp": filter_by_created_timestamp,
            "timestamp_column": timestamp_column, "strict": strict,
        }  # fmt: skip
        sent = await _sent(request, retrieving.ToTrain, retrieving.AskedAtTimes, asked)

        def work() -> Response:
            question, rows = sent(lambda whole: whole.entity_rows)
            if in_arrow:
                return historical_in_arrow(desk, question, rows, statuses=statuses)
            return json_response(retrieving.told_training_set(*retrieving.at_times(desk, question, rows)))

        return await service.run(work)

    @router.post(
        "/views/{view}/rows", response_model=writing.Receipt, dependencies=writes,
        openapi_extra=body_of(writing.ToWrite, ARROW_BODY),
    )  # fmt: skip
    async def write(view: str, request: Request, to: _To = None, idempotency_key: _Text = None) -> Response:
        """Rows of one view, whole or not at all (W-1, W-2)."""
        sent = await _sent(request, writing.ToWrite, writing.Where, {"to": to, "idempotency_key": idempotency_key})
        return await service.run(lambda: json_response(writing.write(desk, view, *sent(lambda whole: whole.rows))))

    @router.post(
        "/push-sources/{source}/rows", response_model=writing.Receipts, dependencies=writes,
        openapi_extra=body_of(writing.ToWrite, ARROW_BODY),
    )  # fmt: skip
    async def push(source: str, request: Request, to: _To = None, idempotency_key: _Text = None) -> Response:
        """Rows to every view that a push source feeds, whole or not at all (W-1)."""
        sent = await _sent(request, writing.ToWrite, writing.Where, {"to": to, "idempotency_key": idempotency_key})
        return await service.run(lambda: json_response(writing.push(desk, source, *sent(lambda whole: whole.rows))))

    @router.get("/freshness", response_model=finding.Freshness, dependencies=reads)
    async def freshness(
        view: Annotated[list[str] | None, Query(description="Only these; every online view unless given.")] = None,
    ) -> Response:
        """How old the newest online row of each view is (F-1, F-2)."""
        return await service.run(lambda: json_response(finding.freshness(desk, finding.Views(views=view))))

    @router.get("/health", response_model=finding.Health, dependencies=reads)
    async def health() -> Response:
        """Whether each backend is up, and whether it would answer the same (X-1)."""
        return await service.run(lambda: json_response(finding.health(desk, finding.Nothing())))

    @router.get("/catalogue", response_model=catalogue.Catalogue, dependencies=reads)
    async def listed() -> Response:
        """Everything that is registered."""
        return await service.run(lambda: json_response(catalogue.listed(desk)))

    @router.get("/catalogue/{name}", response_model=finding.Described, dependencies=reads)
    async def described(name: str, kind: _Kind = None) -> Response:
        """Everything about one entity, view, on-demand view or service."""
        return await service.run(lambda: json_response(finding.describe(desk, finding.Name(name=name, kind=kind))))

    @router.post("/search", response_model=finding.Found, dependencies=reads, openapi_extra=body_of(finding.Search))
    async def search(request: Request) -> Response:
        """Features by words and filters, best first."""
        return await service.answer(request, finding.Search, finding.discover)

    async def _sent(
        request: Request, whole: type[M], part: type[Strict], given: dict[str, Any]
    ) -> Callable[[Callable[[M], Any]], tuple[Any, Any]]:
        """Take the body, and return what reads it in a thread: the question, and its rows as JSON or as a table."""
        kind = require_media(request, JSON, ARROW)
        asked = {name: value for name, value in given.items() if value is not None}
        if kind == JSON and asked:
            raise NotHereError(
                f"{', '.join(asked)} in the address is for a body of Arrow.",
                fix="Put it into the JSON body, and nowhere else.",
            )
        body = await service.body(request)

        def read(rows_of: Callable[[M], Any]) -> tuple[Any, Any]:
            if kind == ARROW:
                return part(**asked), arrow_rows(body, service.limits.max_body_bytes)
            document = taken(whole, body, service.limits.max_values)
            return document, rows_of(document)

        return read

    return router
