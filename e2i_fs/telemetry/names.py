"""Every name that e2i_fs tells to the outside: metrics, labels, operations, spans and their attributes. Nothing else names them.

Metrics have OpenTelemetry's names; the Prometheus name of each follows from it by OpenTelemetry's own rule, so that one
dashboard reads both. Labels hold names and classes, of which there are few: never a key, a value or a message.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "ATTRIBUTES",
    "HTTP",
    "LABELS",
    "METRICS",
    "OPERATIONS",
    "PULLED",
    "SPANS",
    "Kind",
    "Label",
    "Metric",
    "Operation",
]


class Kind(enum.StrEnum):
    """How a metric behaves: it only grows, it is as it is now, or it has a distribution."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


_UNITS = {"s": "seconds", "By": "bytes"}


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a metric: an attribute in OpenTelemetry. ``values`` are all that there can be; empty where users name them."""

    name: str
    help: str
    values: tuple[str, ...] = ()

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus.

        >>> ERROR_TYPE.prometheus
        'error_type'
        """
        return self.name.replace(".", "_")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``unit`` is UCUM's (``s``, ``By``, ``1``, ``{row}``); ``buckets`` are a histogram's upper bounds in its unit.

    What is ``pulled`` is read of the store when somebody collects; the rest is counted when it happens.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[Label, ...]
    buckets: tuple[float, ...] = ()
    pulled: bool = False

    @property
    def family(self) -> str:
        """The Prometheus name, without what a kind of sample adds (``_total``, ``_bucket``, ``_sum``, ``_count``).

        >>> OPERATION_DURATION.family
        'e2i_fs_operation_duration_seconds'
        """
        plain = self.name.replace(".", "_")
        unit = "ratio" if self.unit == "1" and self.kind is Kind.GAUGE else _UNITS.get(self.unit, "")
        return f"{plain}_{unit}" if unit else plain

    @property
    def prometheus(self) -> str:
        """The Prometheus name as it is asked for; of a histogram, its family.

        >>> ROWS.prometheus
        'e2i_fs_rows_total'
        """
        return f"{self.family}_total" if self.kind is Kind.COUNTER else self.family


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the store that is timed: its label, and the method that it is, which names its span."""

    name: str
    method: str

    @property
    def span(self) -> str:
        """The name of its span."""
        return f"e2i_fs.{self.method}"


HISTORICAL = Operation("historical", "get_historical_features")
ONLINE = Operation("online", "get_online_features")
WRITE = Operation("write", "write")
PUSH = Operation("push", "push")
APPLY = Operation("apply", "apply")
DELETE = Operation("delete", "delete")
MATERIALIZE = Operation("materialize", "materialize")
MATERIALIZE_INCREMENTAL = Operation("materialize_incremental", "materialize_incremental")
FRESHNESS_CHECK = Operation("freshness", "freshness")
OPERATIONS = (HISTORICAL, ONLINE, WRITE, PUSH, APPLY, DELETE, MATERIALIZE, MATERIALIZE_INCREMENTAL, FRESHNESS_CHECK)

# ---- spans ------------------------------------------------------------------------------------------------

SPAN_ATTEMPT = "e2i_fs.attempt"
SPAN_BACKEND_WRITE = "e2i_fs.backend_write"
SPAN_RUN = "e2i_fs.run"
SPANS = (*(operation.span for operation in OPERATIONS), SPAN_ATTEMPT, SPAN_BACKEND_WRITE, SPAN_RUN)

AT_OPERATION = "e2i_fs.operation"
AT_PROJECT = "e2i_fs.project"
AT_OUTCOME = "e2i_fs.outcome"
AT_BACKEND = "e2i_fs.backend"
AT_ROLE = "e2i_fs.role"
AT_DEGRADED = "e2i_fs.degraded"
AT_ROWS = "e2i_fs.rows"
AT_VIEWS = "e2i_fs.views"
AT_MODE = "e2i_fs.mode"
AT_JOB = "e2i_fs.job_id"
AT_ERROR = "error.type"
ATTRIBUTES = {
    AT_OPERATION: "which operation",
    AT_PROJECT: "the configuration's `project`",
    AT_OUTCOME: "how it ended",
    AT_BACKEND: "the backend that answered, or that was asked",
    AT_ROLE: "`primary` or `standby`",
    AT_DEGRADED: "whether the answer is marked degraded (X-7)",
    AT_ROWS: "rows asked about, or written",
    AT_VIEWS: "the feature views that it touched",
    AT_MODE: "`full` or `incremental`",
    AT_JOB: "the job that a run belongs to",
    AT_ERROR: "the class of the error",
}

# ---- labels -----------------------------------------------------------------------------------------------

OPERATION = Label("operation", "the call of the store", tuple(o.name for o in OPERATIONS))
BACKEND = Label("backend", "a backend's name; empty where none, or no single one, did it")
ROLE = Label("role", "what a backend is among several", ("primary", "standby"))
VIEW = Label("view", "a feature view's name")
OUTCOME = Label("outcome", "how a call ended", ("ok", "degraded", "refused", "failed"))
ASKED = Label("outcome", "how one backend's part ended", ("answered", "failed", "not the same", "slow"))
RUN_OUTCOME = Label("outcome", "how a run ended", ("succeeded", "failed"))
JOB_OUTCOME = Label("outcome", "how a job ended", ("succeeded", "failed", "timed out", "overlapped"))
ERROR_TYPE = Label("error.type", "the class of the error; empty where there was none")
VALUE_STATUS = Label("status", "a value's status (O-3)", ("PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"))
AGE_STATUS = Label("status", "a view's freshness (F-2)", ("FRESH", "WARNING", "STALE", "EXPIRED", "UNKNOWN"))
LIVE = Label("state", "liveness (X-1)", ("closed", "open", "half-open", "isolated", "observe-only"))
SAME = Label("state", "parity (X-1)", ("verified", "lagging", "diverged", "unverified"))
PRIMARY = Label("primary", "the backend that should have answered")
CAUSE = Label("cause", "why it did not: the class of its error, or how its attempt ended")
MODE = Label("mode", "the kind of run", ("full", "incremental"))
TO = Label("to", "where a batch went", ("online", "offline", "both"))
CHANGE = Label("change", "what became of a definition", ("created", "updated", "removed"))
BEFORE = Label("before", "the state before")
AFTER = Label("after", "the state after")
RESULT = Label("result", "how a sampled read compared (X-10)", ("matched", "mismatched", "incomparable"))
PART = Label("part", "a part of what is read of the store", ("health", "journal", "freshness"))
LABELS = (
    OPERATION, BACKEND, ROLE, VIEW, OUTCOME, ASKED, RUN_OUTCOME, JOB_OUTCOME, ERROR_TYPE, VALUE_STATUS, AGE_STATUS, LIVE, SAME,
    PRIMARY, CAUSE, MODE, TO, CHANGE, BEFORE, AFTER, RESULT, PART,
)  # fmt: skip

# ---- metrics: counted when it happens ---------------------------------------------------------------------

CALL_SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
JOB_SECONDS = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)


def _counter(name: str, unit: str, help: str, *labels: Label) -> Metric:
    return Metric(f"e2i_fs.{name}", Kind.COUNTER, unit, help, labels)


def _seconds(name: str, help: str, *labels: Label, buckets: tuple[float, ...] = CALL_SECONDS) -> Metric:
    return Metric(f"e2i_fs.{name}", Kind.HISTOGRAM, "s", help, labels, buckets)


def _gauge(name: str, unit: str, help: str, *labels: Label) -> Metric:
    return Metric(f"e2i_fs.{name}", Kind.GAUGE, unit, help, labels, pulled=True)


OPERATION_DURATION = _seconds(
    "operation.duration", "How long calls of the store took.", OPERATION, BACKEND, OUTCOME, ERROR_TYPE
)
ATTEMPT_DURATION = _seconds(
    "attempt.duration", "How long each backend took that was asked in a read.", OPERATION, BACKEND, ASKED, ERROR_TYPE
)
ROWS = _counter("rows", "{row}", "Rows asked about, or written, by calls that were answered.", OPERATION)
VALUES = _counter("values", "{value}", "Values given, by what is to be known of them.", OPERATION, VIEW, VALUE_STATUS)
DEGRADED = _counter(
    "answers.degraded", "{answer}", "Answers that are marked: they may have missed a write.", OPERATION, BACKEND
)
ERRORS = _counter("errors", "{error}", "Calls that raised, the caller's own mistakes included.", OPERATION, ERROR_TYPE)
FAILOVERS = _counter(
    "failovers", "{answer}", "Answers that another backend than the primary gave.", PRIMARY, BACKEND, CAUSE
)
WRITTEN_ROWS = _counter("written.rows", "{row}", "Rows written or pushed.", VIEW, TO)
MATERIALIZED_ROWS = _counter("materialized.rows", "{row}", "Rows that materialisation brought online.", VIEW, BACKEND)
RUNS = _counter("materializations", "{run}", "Runs of materialisation.", VIEW, BACKEND, RUN_OUTCOME)
JOBS = _counter("jobs", "{job}", "Jobs of materialisation that ended.", VIEW, MODE, JOB_OUTCOME)
JOB_ATTEMPTS = _counter("job.attempts", "{attempt}", "Tries of these jobs.", VIEW, MODE)
JOB_DURATION = _seconds(
    "job.duration", "How long jobs took, all tries together.", MODE, JOB_OUTCOME, buckets=JOB_SECONDS
)
FRESHNESS_CHECKS = _counter("freshness.checks", "{check}", "Views that a freshness check looked at.", VIEW, AGE_STATUS)
BREAKER_MOVES = _counter("breaker.moves", "{move}", "Changes of a backend's liveness.", BACKEND, BEFORE, AFTER)
PARITY_MOVES = _counter("parity.moves", "{move}", "Changes of a backend's parity.", BACKEND, VIEW, BEFORE, AFTER)
REPLAYED_WRITES = _counter(
    "replayed.writes", "{write}", "Writes that a backend took later, from the journal.", BACKEND, VIEW
)
DEFINITIONS = _counter("definitions.changed", "{definition}", "Definitions that were applied or deleted.", CHANGE)
LEAKED_CELLS = _counter("leakage.cells", "{cell}", "Cells that an audit found could not have been known.", VIEW)

# ---- metrics: read when somebody collects -----------------------------------------------------------------

BACKEND_UP = _gauge("backend.up", "", "1 when the backend said in time that it is up, else 0.", BACKEND, ROLE)
PING_DURATION = _gauge("backend.ping.duration", "s", "How long the backend took to say so.", BACKEND)
LIVENESS = _gauge(
    "backend.liveness", "", "1 at the state that the backend's breaker is in, 0 at others.", BACKEND, LIVE
)
PARITY = _gauge("backend.parity", "", "1 at the state that the backend's rows of the view are in.", BACKEND, VIEW, SAME)
JOURNAL_LAG = _gauge("journal.lag", "{write}", "Writes that the backend has yet to take.", BACKEND, VIEW)
JOURNAL_SIZE = _gauge("journal.size", "By", "Bytes of rows that the journal keeps.")
JOURNAL_LIMIT = _gauge("journal.limit", "By", "Bytes of rows that the journal may keep; 0 where there is no journal.")
VIEW_AGE = _gauge("view.age", "s", "Now minus the newest event time online; absent when nothing is.", VIEW)
VIEW_LIMIT = _gauge("view.max_staleness", "s", "How old it may be; absent for a view without a limit.", VIEW)
FRESHNESS = _gauge("view.freshness", "", "1 at the view's freshness, 0 at others.", VIEW, AGE_STATUS)
HEDGED = _gauge("hedged.reads", "1", "Share of reads for which the backend was asked beside another one.", BACKEND)
STATE_READ = _gauge("state.read", "", "1 when this part of these numbers could be read in time, else 0.", PART)
SHADOW = Metric(
    "e2i_fs.shadow.comparisons", Kind.COUNTER, "{comparison}", "Sampled reads compared with another backend's.",
    (BACKEND, RESULT), pulled=True,
)  # fmt: skip

# ---- metrics of the feature server, which Prometheus alone is told ----------------------------------------

METHOD = Label("method", "the HTTP method")
PATH = Label("path", "the path as the server has it, such as `/v1/catalogue/{name}`")
HTTP_STATUS = Label("status", "the HTTP status")
HTTP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
HTTP_REQUESTS = _counter("http.requests", "{request}", "Requests answered.", METHOD, PATH, HTTP_STATUS)
HTTP_DURATION = _seconds(
    "http.request.duration",
    "Seconds from a request's head to the end of its answer.",
    METHOD,
    PATH,
    buckets=HTTP_SECONDS,
)
HTTP_UNDER_WAY = Metric("e2i_fs.http.requests.in_progress", Kind.GAUGE, "{request}", "Requests under way.", ())
HTTP = (HTTP_REQUESTS, HTTP_DURATION, HTTP_UNDER_WAY)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric) and value not in HTTP)
PULLED = tuple(metric for metric in METRICS if metric.pulled)
