"""Columns that are the target in another shape: cut, folded, written out, said among other words; and honest ones that look like it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

import e2i_fs as fs
from e2i_fs.quality import LeakKind, Outcome, audit

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = 400
BANDS = np.array(["low", "fair", "high", "top"])
Y = np.round(np.exp(np.random.default_rng(1).normal(6, 1, ROWS)), 2)  # skewed, as money is
COUNTS = np.random.default_rng(2).poisson(40, ROWS)
CHURNED = np.random.default_rng(3).random(ROWS) < 0.3
CLASSES = np.random.default_rng(4).choice(["north", "south", "east", "west"], ROWS)


@pytest.fixture(scope="module")
def store():
    with fs.connect({"backend": "memory"}, clock=lambda: START + timedelta(days=900)) as opened:
        opened.apply([fs.FeatureView("calls", entities=[fs.Entity("k")], schema=[fs.Field("calls", fs.Int64)])])
        opened.write("calls", [{"k": "a", "event_timestamp": START, "calls": 3}], to="offline")
        yield opened


def _audited(store: Any, y: Any, column: Any) -> Any:
    times = [START + timedelta(hours=n) for n in range(len(y))]
    frame = pd.DataFrame({"k": "a", "event_timestamp": times, "calls": 3, "target": y, "given": column})
    return audit(frame, store, ["calls:calls"], target="target")


def _bands(y: np.ndarray, parts: int) -> np.ndarray:
    return np.searchsorted(np.quantile(y, np.arange(1, parts) / parts), y)


def _sentence(n: int, said: str) -> str:
    who = ["Ada", "Ben", "Cleo", "Dan"][n % 4]
    return (
        f"Visit {n} by {who}, smoker: {'yes' if n % 3 else 'no'}. Patient churned: {said}; next call on day {n % 29}."
    )


def _document(n: int, churned: bool) -> str:
    return json.dumps({"visit": n, "smoker": n % 3 == 0, "outcome": {"churned": churned}, "adherent": n % 5 > 1})


COPIES: dict[str, tuple[Any, Callable[[], Any]]] = {
    "above the median": (Y, lambda: np.median(Y) < Y),
    "above the median, of counts": (COUNTS, lambda: np.median(COUNTS) < COUNTS),
    "the top tenth, as text": (Y, lambda: np.where(np.quantile(Y, 0.9) < Y, "vip", "other")),
    "quartiles": (Y, lambda: _bands(Y, 4)),
    "quartiles in words": (Y, lambda: BANDS[_bands(Y, 4)]),
    "deciles in words": (Y, lambda: [f"group {'cjahbdifge'[n]}" for n in _bands(Y, 10)]),
    "the square of the distance to the mean": (Y, lambda: (Y - Y.mean()) ** 2),
    "the same, rounded": (Y, lambda: ((Y - Y.mean()) ** 2).astype("float32")),
    "the distance to the median": (Y, lambda: np.abs(Y - np.median(Y))),
    "a root with signs by chance": (Y, lambda: np.sqrt(Y) * np.random.default_rng(5).choice([-1, 1], ROWS)),
    "written with thousands": (Y, lambda: [f"{100 * y:,.2f}" for y in Y]),
    "written with a currency": (Y, lambda: [f"EUR {y:,.2f}" for y in Y]),
    "written with a comma": (Y, lambda: [f"{y:,.2f}".translate(str.maketrans(",.", ".,")) for y in Y]),
    "in a sentence": (CHURNED, lambda: [_sentence(n, "yes" if y else "no") for n, y in enumerate(CHURNED)]),
    "in JSON": (CHURNED, lambda: [_document(n, bool(y)) for n, y in enumerate(CHURNED)]),
    "of many classes, in a sentence": (CLASSES, lambda: [_sentence(n, y) for n, y in enumerate(CLASSES)]),
    "of many classes, in fewer": (CLASSES, lambda: np.isin(CLASSES, ["north", "east"])),
}


@pytest.mark.parametrize("name", COPIES)
def test_the_target_in_another_shape_is_found_as_a_copy(store, name: str) -> None:
    y, make = COPIES[name]
    report = _audited(store, y, make())
    assert [(f.kind, f.feature) for f in report.findings] == [(LeakKind.TARGET_COPY, "given")], report


def _draw(seed: int = 9) -> Any:
    return np.random.default_rng(seed)


def _groups(apart: float) -> tuple[Any, Any]:
    """Two plans whose spend lies ``apart`` standard deviations from each other: with 7 no row is on the other's side."""
    plan = _draw().random(ROWS) < 0.5
    return apart * plan + _draw(10).normal(size=ROWS), np.where(plan, "gold", "basic")


def _units() -> tuple[Any, Any]:
    units = _draw().integers(1, 7, ROWS)
    return units * _draw(10).normal(100, 1.5, ROWS), [f"pack of {n}" for n in units]


def _levels(noise: float, what: str) -> tuple[Any, Any]:
    """Thirty doctors, each with a level of spend of its own, and things that are each doctor's own too."""
    who, draw = _draw().integers(0, 30, ROWS), _draw(10)
    level, other = draw.normal(0, 100, 30), draw.normal(0, 100, 30)
    own = {
        "specialty": (np.arange(30) % 4)[who],
        "number": who * 7 + 100,
        "other level": other[who] + noise * draw.normal(size=ROWS),
    }
    return level[who] + noise * draw.normal(size=ROWS), own[what]


def _many_rows_of_few() -> tuple[Any, Any]:
    """Sixty doctors of a hundred rows each, with two levels: near each other by doctor, and noise within."""
    draw = _draw()
    return tuple(np.repeat(draw.normal(0, 100, 60), 100) + draw.normal(0, 0.01, 6_000) for _ in range(2))


def _lagged() -> tuple[Any, Any]:
    walk = np.cumsum(_draw().normal(size=ROWS + 1))
    return walk[1:], walk[:-1]


def _season() -> tuple[Any, Any]:
    day = np.arange(ROWS)
    return np.sin(day / 58) + _draw().normal(0, 0.05, ROWS), day % 365


def _guess() -> tuple[Any, Any]:
    """A forecast that is good, in bands: rows near an edge fall on either side."""
    return np.log(Y), BANDS[_bands(np.log(Y) + _draw().normal(0, 0.1, ROWS), 4)]


def _notes(word: str, how_often: tuple[float, float]) -> tuple[Any, Any]:
    """Free text with a word that stands more often where the patient churned."""
    said = _draw().random(ROWS) < np.where(CHURNED, *how_often)
    return CHURNED, [f"{_sentence(n, 'not asked')} Patient {word if s else 'is content'}." for n, s in enumerate(said)]


HONEST: dict[str, Callable[[], tuple[Any, Any]]] = {
    "plans that overlap": lambda: _groups(4),
    "plans that just touch": lambda: _groups(7),
    "plans far apart": lambda: _groups(14),
    "packs of a price": _units,
    "inactive accounts, which spend nothing": lambda: (np.where(CHURNED, 0.0, Y), np.where(CHURNED, "closed", "open")),
    "counts of two plans": lambda: (_draw().poisson(np.where(CHURNED, 10, 40)), CHURNED),
    **{
        f"what each doctor has of its own: {what}, {noise}": lambda what=what, noise=noise: _levels(noise, what)
        for what in ("specialty", "number", "other level") for noise in (0.0, 0.01, 1.0)
    },
    "two levels of each doctor in many rows": _many_rows_of_few,
    "yesterday's value of a walk": _lagged,
    "the day of the year": _season,
    "a good forecast in bands": _guess,
    "a parabola with noise": lambda: (_draw().normal(size=ROWS) ** 2 + _draw(10).normal(0, 0.1, ROWS), _draw().normal(size=ROWS)),
    "notes that tell nothing": lambda: _notes("asks for tea", (0.3, 0.3)),
    "notes that tell much": lambda: _notes("asks to stop", (0.9, 0.05)),
    "documents that tell nothing": lambda: (CHURNED, [_document(n, n % 7 == 0) for n in range(ROWS)]),
    "prices in text": lambda: (Y, [f"{p:,.2f}" for p in _draw().permutation(Y)]),
    "regions of a class each, but for some": lambda: (CLASSES, np.where(_draw().random(ROWS) < 0.8, np.isin(CLASSES, ["north", "east"]), CHURNED)),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_column_that_resembles_the_target_is_not_called_a_copy(store, name: str) -> None:
    report = _audited(store, *HONEST[name]())
    assert report.findings == (), report
    assert not [c for c in report.checks if c.outcome is Outcome.ERROR], report
