"""A Grafana dashboard of everything that e2i_fs tells, built from the table of names: ``grafana.json`` beside this file is what it makes.

``python -m e2i_fs.telemetry.dashboard`` prints it, and so does ``e2i-fs dashboard``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from e2i_fs.telemetry import names
from e2i_fs.telemetry.names import Label, Metric

__all__ = ["built", "shipped"]

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_RATE = "$__rate_interval"
_WIDTH, _HEIGHT = 8, 8
_GOOD, _BAD = "green", "red"


@dataclass(frozen=True, slots=True)
class _Panel:
    """One panel: what it is called, what it shows, and each query with what its lines are called."""

    title: str
    about: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    good: str = ""
    """Which state is the good one, for a panel of states."""


def shipped() -> dict[str, Any]:
    """Return the dashboard that comes with e2i_fs, as Grafana imports it.

    >>> shipped()["title"]
    'e2i_fs'
    """
    text = files("e2i_fs.telemetry").joinpath("grafana.json").read_text(encoding="utf-8")
    dashboard: dict[str, Any] = json.loads(text)
    return dashboard


def built() -> dict[str, Any]:
    """Return the dashboard made anew of the table of names."""
    panels: list[dict[str, Any]] = []
    row = 0
    for title, group in _GROUPS:
        panels.append(
            {
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": 24, "x": 0, "y": row},
                "panels": [],
            }
        )
        for i, panel in enumerate(group):
            place = {"h": _HEIGHT, "w": _WIDTH, "x": i % 3 * _WIDTH, "y": row + 1 + i // 3 * _HEIGHT}
            panels.append(_panel(panel, place))
        row += 1 + -(-len(group) // 3) * _HEIGHT
    return {
        "title": "e2i_fs",
        "uid": "e2i-fs",
        "description": "Feature stores: what is asked and answered, who may answer, how fresh it is, and the jobs.",
        "tags": ["e2i_fs", "feature store"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0},
            _variable("instance", "Instance", f"label_values({names.OPERATION_DURATION.family}_count, instance)"),
            _variable("view", "View", f"label_values({names.FRESHNESS.prometheus}, {names.VIEW.prometheus})"),
        ]},
        "annotations": {"list": [{
            "name": "Failovers", "datasource": _SOURCE, "enable": True, "iconColor": "orange",
            "expr": f"sum by ({names.PRIMARY.prometheus}, {names.BACKEND.prometheus}) "
                    f"(increase({_of(names.FAILOVERS)}[{_RATE}])) > 0",
            "titleFormat": "Failover", "textFormat": "{{primary}} → {{backend}}",
        }]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }  # fmt: skip


# ---- queries ----------------------------------------------------------------------------------------------


def _of(metric: Metric, suffix: str = "", **chosen: str) -> str:
    """Return the selector of a metric, for the instances and views chosen and the labels given."""
    wanted = ['instance=~"$instance"']
    if names.VIEW in metric.labels:
        wanted.append(f'{names.VIEW.prometheus}=~"$view"')
    wanted += [f"{name}{_is(value)}" for name, value in chosen.items()]
    return f"{metric.prometheus}{suffix}{{{', '.join(wanted)}}}"


def _is(value: str) -> str:
    """Return the match of a label's value; ``!`` before it means any other."""
    return f'!="{value[1:]}"' if value.startswith("!") else f'="{value}"'


def _by(metric: Metric, *labels: Label, suffix: str = "", per: str = "rate", **chosen: str) -> str:
    """Return the sum of a counter's growth by labels: a second (``rate``) or in the interval (``increase``)."""
    return f"sum by ({_named(*labels)}) ({per}({_of(metric, suffix, **chosen)}[{_RATE}]))"


def _at(quantile: float, metric: Metric, *labels: Label, **chosen: str) -> str:
    by = ", ".join(("le", _named(*labels))) if labels else "le"
    return f"histogram_quantile({quantile}, sum by ({by}) (rate({_of(metric, '_bucket', **chosen)}[{_RATE}])))"


def _max(metric: Metric, *labels: Label, **chosen: str) -> str:
    return f"max by ({_named(*labels)}) ({_of(metric, **chosen)})"


def _named(*labels: Label) -> str:
    return ", ".join(label.prometheus for label in labels)


def _quantiles(metric: Metric, *labels: Label, **chosen: str) -> tuple[tuple[str, str], ...]:
    told = " ".join(f"{{{{{label.prometheus}}}}}" for label in labels)
    return tuple((_at(q, metric, *labels, **chosen), f"p{round(q * 100)} {told}".strip()) for q in (0.5, 0.95, 0.99))


def _states(metric: Metric, state: Label, *labels: Label) -> str:
    """Return 1 for the state that each is in, with that state's name as a label."""
    return f"max by ({_named(*labels, state)}) ({_of(metric)}) == 1"


_GROUPS: tuple[tuple[str, tuple[_Panel, ...]], ...] = (
    ("Asked and answered", (
        _Panel("Calls", "Calls a second, by operation.",
               ((_by(names.OPERATION_DURATION, names.OPERATION, suffix="_count"), "{{operation}}"),), "reqps"),
        _Panel("Outcomes", "Calls a second, by how they ended. Refused are callers' mistakes; failed are ours.",
               ((_by(names.OPERATION_DURATION, names.OUTCOME, suffix="_count"), "{{outcome}}"),), "reqps"),
        _Panel("Errors", "Errors a second, by operation and class.",
               ((_by(names.ERRORS, names.OPERATION, names.ERROR_TYPE), "{{operation}} {{error_type}}"),), "reqps"),
        _Panel("Online reads: how long", "Half, 95 and 99 of 100 online reads took at most so long.",
               _quantiles(names.OPERATION_DURATION, operation="online"), "s"),
        _Panel("Historical retrievals: how long", "Half, 95 and 99 of 100 took at most so long.",
               _quantiles(names.OPERATION_DURATION, operation="historical"), "s"),
        _Panel("Writes: how long", "Half, 95 and 99 of 100 writes took at most so long.",
               _quantiles(names.OPERATION_DURATION, operation="write"), "s"),
        _Panel("Rows", "Rows a second that were asked about or written.",
               ((_by(names.ROWS, names.OPERATION), "{{operation}}"),)),
        _Panel("Values online, by status", "What was told of the values given online, a second.",
               ((_by(names.VALUES, names.VALUE_STATUS, operation="online"), "{{status}}"),)),
        _Panel("Share not present, by view", "Values that were NULL, not found or too old, of all values given.",
               ((f'{_by(names.VALUES, names.VIEW, status="!PRESENT")} / {_by(names.VALUES, names.VIEW)}', "{{view}}"),),
               "percentunit"),
    )),
    ("Who may answer", (
        _Panel("Up", "Whether each backend says that it is up.", ((_max(names.BACKEND_UP, names.BACKEND), "{{backend}}"),),
               kind="up", good="1"),
        _Panel("Liveness", "The state of each backend's breaker: calls go through while it is closed.",
               ((_states(names.LIVENESS, names.LIVE, names.BACKEND), "{{backend}}: {{state}}"),), kind="states", good="closed"),
        _Panel("Parity", "Whether each backend would answer the same, by view. Only verified answers unmarked.",
               ((_states(names.PARITY, names.SAME, names.BACKEND, names.VIEW), "{{view}} on {{backend}}: {{state}}"),),
               kind="states", good="verified"),
        _Panel("Journal lag", "Writes that a backend has yet to take.",
               ((_max(names.JOURNAL_LAG, names.BACKEND, names.VIEW), "{{backend}} {{view}}"),)),
        _Panel("Failovers", "Answers that another than the primary gave, by why.",
               ((_by(names.FAILOVERS, names.PRIMARY, names.BACKEND, names.CAUSE, per="increase"),
                 "{{primary}} → {{backend}}: {{cause}}"),)),
        _Panel("Degraded answers", "Answers that may have missed a write, and say so.",
               ((_by(names.DEGRADED, names.OPERATION, names.BACKEND, per="increase"), "{{operation}} {{backend}}"),)),
        _Panel("Attempts: how long", "95 of 100 attempts at a backend took at most so long.",
               ((_at(0.95, names.ATTEMPT_DURATION, names.BACKEND, names.ASKED), "{{backend}} {{outcome}}"),), "s"),
        _Panel("Moves of breakers and parity", "Changes of liveness and of parity.",
               ((_by(names.BREAKER_MOVES, names.BACKEND, names.AFTER, per="increase"), "{{backend}} → {{after}}"),
                (_by(names.PARITY_MOVES, names.BACKEND, names.VIEW, names.AFTER, per="increase"),
                 "{{backend}} {{view}} → {{after}}"))),
        _Panel("Replayed writes", "Writes that a backend took later, from the journal.",
               ((_by(names.REPLAYED_WRITES, names.BACKEND, per="increase"), "{{backend}}"),)),
        _Panel("Sampled comparisons", "Reads repeated on another backend. A mismatch puts it in quarantine.",
               ((_by(names.SHADOW, names.BACKEND, names.RESULT, per="increase"), "{{backend}} {{result}}"),)),
        _Panel("Journal size", "Bytes of rows in the journal, and how many there may be.",
               ((f"max({_of(names.JOURNAL_SIZE)})", "kept"), (f"max({_of(names.JOURNAL_LIMIT)})", "limit")), "bytes"),
        _Panel("Ping", "How long each backend took to say that it is up.",
               ((_max(names.PING_DURATION, names.BACKEND), "{{backend}}"),), "s"),
        _Panel("Hedged reads", "Share of reads for which each backend was asked beside one that was slow.",
               ((_max(names.HEDGED, names.BACKEND), "{{backend}}"),), "percentunit"),
    )),
    ("How fresh", (
        _Panel("Freshness", "Each view's status by its max_staleness.",
               ((_states(names.FRESHNESS, names.AGE_STATUS, names.VIEW), "{{view}}: {{status}}"),), kind="states", good="FRESH"),
        _Panel("Age against limit", "Age of the newest row online as a share of max_staleness: over 1 is stale.",
               ((f"{_max(names.VIEW_AGE, names.VIEW)} / {_max(names.VIEW_LIMIT, names.VIEW)}", "{{view}}"),), "percentunit"),
        _Panel("Age", "Now minus the newest event time online.", ((_max(names.VIEW_AGE, names.VIEW), "{{view}}"),), "s"),
        _Panel("Checks", "Views that freshness checks looked at, by what they found.",
               ((_by(names.FRESHNESS_CHECKS, names.AGE_STATUS, per="increase"), "{{status}}"),)),
        _Panel("Rows written", "Rows a second, written or pushed.",
               ((_by(names.WRITTEN_ROWS, names.VIEW, names.TO), "{{view}} {{to}}"),)),
        _Panel("Numbers that could not be read", "1 while a part of these numbers cannot be read: a backend hangs.",
               ((f"1 - min by ({_named(names.PART)}) ({_of(names.STATE_READ)})", "{{part}}"),)),
    )),
    ("Materialisation and jobs", (
        _Panel("Materialised rows", "Rows brought online, a second.",
               ((_by(names.MATERIALIZED_ROWS, names.VIEW, names.BACKEND), "{{view}} on {{backend}}"),)),
        _Panel("Runs", "Runs of materialisation, by how they ended.",
               ((_by(names.RUNS, names.VIEW, names.RUN_OUTCOME, per="increase"), "{{view}} {{outcome}}"),)),
        _Panel("Jobs", "Jobs that ended, by how.",
               ((_by(names.JOBS, names.VIEW, names.MODE, names.JOB_OUTCOME, per="increase"), "{{view}} {{mode}} {{outcome}}"),)),
        _Panel("Jobs: how long", "Half, 95 and 99 of 100 jobs took at most so long.",
               _quantiles(names.JOB_DURATION, names.MODE), "s"),
        _Panel("Tries of jobs", "Tries, by view and kind; more than there are jobs are tries again.",
               ((_by(names.JOB_ATTEMPTS, names.VIEW, names.MODE, per="increase"), "{{view}} {{mode}}"),)),
        _Panel("Definitions changed, leaks found", "Definitions applied or deleted; cells that audits found leaking.",
               ((_by(names.DEFINITIONS, names.CHANGE, per="increase"), "{{change}}"),
                (_by(names.LEAKED_CELLS, names.VIEW, per="increase"), "leaked: {{view}}"))),
    )),
    ("The feature server", (
        _Panel("Requests", "Requests a second, by path and status.",
               ((_by(names.HTTP_REQUESTS, names.PATH, names.HTTP_STATUS), "{{path}} {{status}}"),), "reqps"),
        _Panel("Requests: how long", "Half, 95 and 99 of 100 requests took at most so long.",
               _quantiles(names.HTTP_DURATION), "s"),
        _Panel("Requests under way", "Requests at this moment.", ((f"sum({_of(names.HTTP_UNDER_WAY)})", "under way"),)),
    )),
)  # fmt: skip


# ---- Grafana's own form -----------------------------------------------------------------------------------


def _panel(panel: _Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + i), "datasource": _SOURCE, "expr": expression, "legendFormat": legend, "range": True}
        for i, (expression, legend) in enumerate(panel.queries)
    ]
    defaults: dict[str, Any] = {"unit": panel.unit, "color": {"mode": "palette-classic"}, "mappings": []}
    if panel.kind == "timeseries":
        defaults |= {"min": 0, "custom": {"drawStyle": "line", "fillOpacity": 10, "showPoints": "never"}}
        options: dict[str, Any] = {
            "legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"},
        }  # fmt: skip
        kind = "timeseries"
    else:
        kind = "state-timeline"
        defaults |= {"color": {"mode": "thresholds"}, "custom": {"fillOpacity": 80, "lineWidth": 0}}
        options = {"mergeValues": True, "showValue": "never", "rowHeight": 0.9, "legend": {"showLegend": False}}
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": _BAD, "value": None}, {"color": _GOOD, "value": 1}],
        }
    overrides = []
    if panel.kind == "states":  # a line of a state that is not the good one is red
        overrides = [{
            "matcher": {"id": "byRegexp", "options": f"^(?!.*: {panel.good}$).*$"},
            "properties": [{"id": "thresholds", "value": {"mode": "absolute", "steps": [{"color": _BAD, "value": None}]}}],
        }]  # fmt: skip
    return {
        "type": kind, "title": panel.title, "description": panel.about, "datasource": _SOURCE, "gridPos": place,
        "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": overrides}, "options": options,
    }  # fmt: skip


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name, "label": label, "type": "query", "datasource": _SOURCE, "query": {"query": query, "refId": name},
        "definition": query, "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(json.dumps(built(), indent=1, ensure_ascii=False) + "\n")
