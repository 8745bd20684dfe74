"""The demo from end to end. Read `run_demo`: it is the story in order."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import e2i_fs as fs
from e2i_fs.cli.demo.claims import Claims
from e2i_fs.cli.demo.database import check_left, check_tables, database_away, push
from e2i_fs.cli.demo.preparing import GATED, Gated, check_refused, prepare, refuse
from e2i_fs.cli.demo.primary import Primary
from e2i_fs.cli.demo.production import Production
from e2i_fs.cli.demo.repository import feature_repo
from e2i_fs.cli.demo.serving import Request, Service, outage
from e2i_fs.cli.demo.tables import Files, Tables
from e2i_fs.cli.demo.training import FEATURES, Proof, prove, questions

__all__ = ["Story", "Teller", "run_demo"]

DAYS_BACK = 60
"""The training set is built as of so many days before the end of the data."""
PAIRS = 6


class Teller:
    """Where the demo is told while it runs. This one says nothing."""

    def chapter(self, title: str, about: str) -> None:
        """A new chapter begins."""

    def step(self, what: str) -> None:
        """Something longer is being done."""

    def facts(self, facts: Mapping[str, Any]) -> None:
        """What came of it."""

    def plan(self, plan: Any) -> None:
        """What was registered."""


@dataclass(slots=True)
class Story:
    """All that happened, for the report and for ``--json``."""

    backends: str
    failover: str
    scale: float
    seed: int
    now: datetime
    as_of: datetime
    claims: Claims
    rows: Mapping[str, int] = field(default_factory=dict)
    gated: list[Gated] = field(default_factory=list)
    training: Mapping[str, Any] = field(default_factory=dict)
    learned: Any = None
    judged: Any = None
    proof: Proof | None = None
    freshness: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def run_demo(
    out: Path,
    *,
    scale: float,
    seed: int,
    primary: Primary | None,
    why_alone: str,
    claims: Claims,
    teller: Teller,
    production: Production | None = None,
) -> Story:
    """Run the demo in the empty folder ``out``. Without a ``primary`` DuckDB is alone, and nothing fails over.

    With ``production``, which is the primary then, the rows lie in its PostgreSQL, and that is taken away too.
    """
    generator = feature_repo("generate")
    now: datetime = generator.DEFAULT_UNTIL
    began = time.monotonic()

    def clock() -> datetime:
        return now + timedelta(seconds=time.monotonic() - began)

    story = Story(
        backends=f"{primary.about} (primary) and DuckDB (standby)" if primary else "DuckDB alone",
        failover="shown" if primary else f"not shown: {why_alone}, so there is one backend only",
        scale=scale, seed=seed, now=now, as_of=now - timedelta(days=DAYS_BACK), claims=claims,
    )  # fmt: skip

    with _timed(story, "data"):
        teller.chapter("Data", "18 months of E2I, with late rows, corrections, ties and gaps")
        made = generator.generate(out / "data", scale=scale, seed=seed, progress=teller.step)
        story.rows = made.rows
        teller.facts({name: f"{count:,} rows" for name, count in made.rows.items()})

    if production is not None:
        with _timed(story, "tables"):
            teller.chapter("Tables", "the six E2I tables in PostgreSQL, in a schema that goes at the end")
            production.tables.bring(made.folder, teller.step)
            teller.facts(
                {
                    "PostgreSQL": production.database.about,
                    "schema": production.project,
                    "Redis": production.online.about,
                }
            )
    try:
        config = _config(out, primary)
        _told(story, config, made, primary, production, clock, teller)
        if production is not None:
            check_left(production, claims)
    finally:
        if primary is not None:
            primary.stop()
    return story


def _told(
    story: Story,
    config: Mapping[str, Any],
    made: Any,
    primary: Primary | None,
    production: Production | None,
    clock: Callable[[], datetime],
    teller: Teller,
) -> None:
    from e2i_fs.cli.demo.learning import check_training, judge

    out = made.folder.parent
    tables: Tables = Files() if production is None else production.tables
    defined, agents = tables.definitions(made.folder), feature_repo("agents")
    claims = story.claims
    with _timed(story, "prepare"):
        teller.chapter("Prepare", f"data_preparer: frames through the gate into {story.backends}")
        teller.step("opening the backends" + (" (importing Feast takes some seconds)" if primary else ""))
        with fs.connect(config, clock=clock) as store:
            teller.step("a frame that is not fit")
            story.gated.append(refuse(store, made.folder, defined, clock))
        with fs.connect(config, clock=clock) as store:
            check_refused(story.gated[0], store, claims)
            teller.step("frames that are")
            story.gated += prepare(store, made.folder, defined, clock, claims)
            plan = store.apply(defined)
            teller.plan(plan)
    store = fs.connect(config, clock=clock)
    try:
        views = [v.name for v in store.list_feature_views()]
        claims.check(
            "A store opened anew has all that was registered, the agent's views as the repository defines them",
            len(views) == 9 and {f"view {name}" for name in GATED} <= set(plan.unchanged),
            f"{len(views)} views; {len(plan.created)} definitions more, {len(plan.unchanged)} as the agent made them",
        )

        with _timed(story, "train"):
            teller.chapter("Train", f"model_trainer: HCP conversion, as it could be learned on {story.as_of:%Y-%m-%d}")
            asked = questions(made.outcomes, story.as_of, agents.OUTCOME_DAYS)
            teller.step(f"splits of {asked.num_rows:,} questions, their audit, and gradient boosting")
            trained = agents.model_trainer(store, asked, as_of=story.as_of, clock=clock, seed=story.seed)
            teller.step("the same questions once more")
            result = store.get_historical_features(asked, FEATURES, filter_by_created_timestamp=True, as_of=story.as_of)
            story.training = _about(result.to_arrow(), result)
            teller.facts(
                {
                    "questions": f"{story.training['rows']:,} (HCP, brand, time), outcome known",
                    "features": f"{len(result.feature_names)} of service {FEATURES}",
                    "converted": f"{story.training['rate']:.1%}",
                    "answered by": f"{trained.loaded.provenance.served_by} ({trained.loaded.provenance.role})",
                }
            )
            story.learned = check_training(trained, result, store, clock(), agents.OUTCOME_DAYS, claims)
            story.judged = judge(trained, claims)

        with _timed(story, "proof"):
            teller.chapter("Proof", "the same question, rows of later taken away and harmful ones added")
            story.proof = prove(
                result, asked, as_of=story.as_of, data=made.folder, work=out / "proof",
                stores={**({primary.kind: primary.another} if primary else {}), "duckdb": _duckdb},
                tables=tables, clock=clock, claims=claims, progress=teller.step,
            )  # fmt: skip
            if production is not None:
                check_tables(
                    result, asked, data=made.folder, work=out / "proof", as_of=story.as_of, clock=clock, claims=claims
                )

        with _timed(story, "materialise"):
            teller.chapter("Materialise", "the newest row of each key, ready to serve")
            report = store.materialize(
                None, progress=lambda view, done, total: teller.step(f"{view} {done:,}/{total:,}")
            )
            story.freshness = list(store.freshness().values())
            claims.check(
                "Every view is online in every backend",
                not report.failed
                and len(report.runs) == len(views) * (2 if primary else 1)
                and all(r.rows > 0 for r in story.freshness),
                f"{len(report.runs)} runs, {report.rows_written:,} rows, {len(report.failed)} failed",
            )
            teller.facts({r.view: f"{r.status.value}, newest row {_hours(r.age)} old" for r in story.freshness})

        with _timed(story, "serve"):
            service = Service(_pairs(asked), trained.model, clock)
            away = "while the primary is taken away and brought back" if primary else "by DuckDB alone"
            if production is not None:
                away = "while PostgreSQL, then Redis is taken away and brought back"
            teller.chapter("Serve", f"prediction_synthesizer: predictions, {away}")
            service.learn_truth(store, clock(), claims)
            if production is not None:
                push(service, production, store, clock, claims)
                database_away(
                    service, production, result, asked,
                    store=store, as_of=story.as_of, clock=clock, claims=claims, progress=teller.step,
                )  # fmt: skip
            if primary is not None:
                outage(service, primary, config=config, store=store, clock=clock, claims=claims, progress=teller.step)
            else:
                alone = service.ask(store, "alone", 30)
                claims.check(
                    "DuckDB serves every request, right and unmarked",
                    all(r.right and not r.degraded for r in alone),
                    f"{len(alone)} requests, slowest {max(r.milliseconds for r in alone):.1f} ms",
                )
            story.requests = service.requests
    finally:
        store.close()


def _config(out: Path, primary: Primary | None) -> dict[str, Any]:
    standby = _duckdb((out / "standby").resolve())
    if primary is None:
        return {"project": "e2i", **standby}
    return {
        "project": "e2i",
        "state": str((out / "state").resolve()),
        "backends": [{"name": "primary", **primary.start(out)}, {"name": "standby", **standby}],
        # Short times, so that the story is, and nothing by itself, so that each step can be seen; the defaults are
        # for production.
        "failover": {
            "background": False,
            "deadline": 2.0,
            "shadow_rate": 0.0,
            "breaker": {"open_for": 0.5, "jitter": 0.0, "successes": 1},
        },
    }


def _duckdb(folder: Path) -> dict[str, Any]:
    return {"backend": "duckdb", "path": str(folder)}


def _about(training: Any, result: Any) -> dict[str, Any]:
    months: dict[str, list[bool]] = {}
    for at, converted in zip(training["event_timestamp"].to_pylist(), training["converted"].to_pylist(), strict=True):
        months.setdefault(f"{at:%Y-%m}", []).append(converted)
    missing = {
        ref: {status.value: each.count(status) for status in fs.FeatureStatus} for ref, each in result.statuses.items()
    }
    outcomes = training["converted"].to_pylist()
    return {
        "rows": training.num_rows,
        "rate": sum(outcomes) / len(outcomes),
        "months": {month: {"questions": len(each), "converted": sum(each)} for month, each in sorted(months.items())},
        "statuses": missing,
        "served_by": result.provenance.served_by,
    }


def _pairs(asked: Any) -> list[dict[str, str]]:
    """Return the pairs asked about last, among them no two alike."""
    found: dict[tuple[str, str], None] = {}
    rows = asked.sort_by([("event_timestamp", "descending")]).select(["hcp_id", "brand_id"]).to_pylist()
    for row in rows:
        found.setdefault((row["hcp_id"], row["brand_id"]))
    return [{"hcp_id": hcp, "brand_id": brand} for hcp, brand in list(found)[:PAIRS]]


def _hours(age: timedelta | None) -> str:
    return "—" if age is None else f"{age.total_seconds() / 3600:.1f} h"


@contextmanager
def _timed(story: Story, name: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    story.seconds[name] = round(time.perf_counter() - begun, 3)


def clear(out: Path) -> None:
    """Remove what an earlier demo left in ``out``."""
    for name in (
        "data",
        "primary",
        "primary.away",
        "redis",
        "standby",
        "standby.away",
        "state",
        "proof",
        "report.html",
    ):
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
