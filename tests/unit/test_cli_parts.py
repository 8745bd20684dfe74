"""The parts of the command that can be asked on their own: JSON forms, durations, parsing."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import e2i_fs as fs
from e2i_fs import errors
from e2i_fs.cli.answer import as_json, write_json
from e2i_fs.cli.exits import exit_code
from e2i_fs.cli.rows import check_out, parse_entity, parse_time, read_rows, write_rows
from e2i_fs.cli.tables import duration, show, table


def test_every_value_that_a_feature_can_have_has_a_json_form() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    @dataclass
    class Pair:
        left: object
        right: object

    told = as_json(
        {
            "nan": float("nan"),
            "infinity": float("-inf"),
            "big": 2**53 + 1,
            "time": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            "date": dt.date(2026, 1, 1),
            "age": dt.timedelta(minutes=1),
            "decimal": decimal.Decimal("1.10"),
            "bytes": b"\x00\xff",
            "enum": Colour.RED,
            "list": [1, None, True],
            "pair": Pair(1, (2, 3)),
            "error": ValueError("no"),
        }
    )
    assert told == {
        "nan": "NaN",
        "infinity": "-Infinity",
        "big": 2**53 + 1,
        "time": "2026-01-01T00:00:00+00:00",
        "date": "2026-01-01",
        "age": 60.0,
        "decimal": "1.10",
        "bytes": "AP8=",
        "enum": "red",
        "list": [1, None, True],
        "pair": {"left": 1, "right": [2, 3]},
        "error": "ValueError: no",
    }
    stream = io.StringIO()
    write_json(told, stream)
    assert json.loads(stream.getvalue()) == told


def test_what_has_no_json_form_is_told_rather_than_guessed() -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        as_json(object())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.UnknownFeatureError("x"), 2),
        (errors.BreakingChangeError("x"), 2),
        (errors.UnsupportedError("x"), 2),
        (FileNotFoundError("x"), 2),
        (errors.BackendUnavailableError("x"), 3),
        (errors.BackendDataError("x"), 3),
        (errors.NoEligibleBackendError("x"), 3),
        (errors.DegradedAnswerError("x"), 3),
        (errors.RunOverlapError("x"), 3),
        (errors.LeakageError("x"), 1),
        (ZeroDivisionError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_says_whose_turn_it_is(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (dt.timedelta(milliseconds=102), "0.102 s"),
        (dt.timedelta(hours=2, seconds=18), "2 h"),
        (dt.timedelta(days=2, hours=3, minutes=4), "2 d 3 h"),
        (dt.timedelta(minutes=90), "1 h 30 min"),
        (-dt.timedelta(minutes=5), "-5 min"),
        (None, "—"),
    ],
)
def test_durations_are_told_in_the_two_units_that_matter(span: dt.timedelta | None, words: str) -> None:
    assert duration(span) == words


@pytest.mark.parametrize(("terminal", "width"), [(False, 80), (True, 200), (True, 80), (True, 30)])
def test_a_table_never_cuts_a_number_or_a_heading(terminal: bool, width: int) -> None:
    columns = ["view", "keys", "compared", "not on primary", "incomparable", "why"]
    why = "writes came in between " * 9
    made = table(
        "Found", columns, [("hcp_engagement_daily", 1_234_567, 123_456_789, 9_876_543, 10, why)], right=range(1, 5)
    )
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    show(console, made)
    show(console, "and more " * 30)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in told and console.width == width
    for word in (
        "hcp_engagement_daily",
        "1,234,567",
        "123,456,789",
        "9,876,543",
        "compared",
        "primary",
        "incomparable",
    ):
        assert word in told
    if not terminal:  # one line for each row, for whatever reads it
        assert any("hcp_engagement_daily" in line and why.strip() in line for line in told.splitlines())
        assert ("and more " * 30).strip() in told


def test_entities_are_parsed_in_the_dtypes_of_their_keys() -> None:
    dtypes = {"site": fs.String, "stop": fs.Int64, "day": fs.Date, "open": fs.Bool, "at": fs.Timestamp}
    row = parse_entity("site=007,stop=7,day=2026-01-02,open=true,at=2026-01-02T03:04:05+01:00,unknown=x", dtypes)
    assert row == {
        "site": "007",
        "stop": 7,
        "day": dt.date(2026, 1, 2),
        "open": True,
        "at": dt.datetime(2026, 1, 2, 2, 4, 5, tzinfo=dt.UTC),
        "unknown": "x",
    }
    assert parse_entity("site=", dtypes) == {"site": None}
    with pytest.raises(errors.InvalidEntityFrameError, match="'seven' is not Int64"):
        parse_entity("stop=seven", dtypes)
    for number in ("1_000", "\u0667"):  # a thousand and a seven to Python
        with pytest.raises(errors.InvalidEntityFrameError, match="stop="):
            parse_entity(f"stop={number}", {"stop": fs.Int64})


def test_a_time_without_an_offset_is_utc() -> None:
    assert parse_time("2026-01-01", "--as-of") == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert parse_time("2026-01-01T01:00:00+01:00", "--as-of") == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert parse_time(None, "--as-of") is None


def test_an_empty_field_of_a_csv_file_is_missing_and_quoted_text_is_text(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('id,n,note\n01,,"a, b"\n02,5,\n')
    table = read_rows(str(tmp_path / "rows.csv"), {"id": fs.String, "n": fs.Int64})
    assert table.to_pylist() == [{"id": "01", "n": None, "note": "a, b"}, {"id": "02", "n": 5, "note": None}]


@pytest.mark.rule("W-1", "P-8")
def test_a_text_of_a_csv_file_that_is_empty_and_a_float_that_is_too_great_are_not_made_something_else(
    tmp_path: Path,
) -> None:
    file, dtypes = tmp_path / "rows.csv", {"id": fs.String, "x": fs.Float64, "y": fs.Float32}
    file.write_text('id,n,x,y\n"","",-inf,0.1\n,5,nan,16777217\n"a",6, +1.5e3,\n')
    table = read_rows(str(file), dtypes)
    assert table.select(["id", "n", "y"]).to_pylist() == [
        {"id": "", "n": None, "y": 0.1}, {"id": None, "n": 5, "y": 16777217.0}, {"id": "a", "n": 6, "y": None},
    ]  # fmt: skip
    assert repr(table["x"].to_pylist()) == "[-inf, nan, 1500.0]"
    for text in ("1e400", "-1e400", "1_000", "0x10", "one"):
        file.write_text(f"x\n1.0\n{text}\n")
        with pytest.raises(errors.RequestError, match=f"row 1, column 'x': '{text}'"):
            read_rows(str(file), dtypes)


def test_a_file_that_is_no_parquet_is_a_mistake_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("not parquet")
    with pytest.raises(errors.RequestError, match="rows.parquet cannot be read"):
        read_rows(str(tmp_path / "rows.parquet"), {})


def test_nested_columns_go_to_parquet_and_are_refused_as_csv(tmp_path: Path) -> None:
    table = pa.table({"v": [[1.0, 2.0]]})
    write_rows(table, str(tmp_path / "v.parquet"))
    assert pq.read_table(tmp_path / "v.parquet").equals(table)
    with pytest.raises(errors.UnsupportedError, match=r"--out x\.parquet"):
        write_rows(table, str(tmp_path / "v.csv"))
    check_out("-")
    with pytest.raises(errors.RequestError, match=r"\.parquet or \.csv"):
        check_out("v.txt")
