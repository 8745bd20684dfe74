"""Definitions written as Python, run, are the definitions that were written, whatever names and texts they have."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import e2i_fs as fs
from e2i_fs.adoption.code import Names, comment, quoted
from e2i_fs.adoption.python_text import python_text
from e2i_fs.catalog import Catalog
from e2i_fs.cli.loading import load_definitions
from e2i_fs.testing.strategies import catalogs
from feature_repo import definitions

CHEAP = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def planned(*given: Any) -> Catalog:
    return Catalog().planned(given, "/")[0]


def again(catalog: Catalog, folder: Path, about: str = "", notes: list[str] | None = None) -> Catalog:
    """Return what the text for ``catalog`` defines when it is run."""
    file = folder / "written.py"
    file.write_text(python_text(catalog, about=about, notes=notes or []), encoding="utf-8")
    return planned(*load_definitions(file))


@pytest.mark.rule("R-2")
@CHEAP
@given(catalog=catalogs())
def test_any_catalogue_is_the_same_when_its_text_is_run(catalog: Catalog, tmp_path: Path) -> None:
    assert again(catalog, tmp_path).to_json() == catalog.to_json()


@pytest.mark.rule("R-2")
@CHEAP
@given(text=st.text())
@example(text='"""\nimport os')
@example(text="\\")
@example(text="'\"\u2028\x85")
def test_no_text_breaks_out_of_where_it_is_written(text: str, tmp_path: Path) -> None:
    entity = fs.Entity("hcp", owner=text, description=text, tags={text: text})
    catalog = planned(
        entity, fs.FeatureView("v", entities=[entity], schema=[fs.Field("x", fs.Int64, description=text)])
    )
    assert again(catalog, tmp_path, text, [text]).to_json() == catalog.to_json()
    assert eval(quoted(text)) == text
    assert "\n" not in quoted(text) + comment(text)


def test_the_text_is_as_a_formatter_leaves_it(tmp_path: Path) -> None:
    file = tmp_path / "written.py"
    file.write_text(python_text(planned(*definitions()), about="E2I.", notes=["one"]), encoding="utf-8")
    ruff = [str(Path(sys.executable).with_name("ruff")), "format", "--isolated", "--diff", str(file)]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_e2i_repository_is_the_same_when_its_text_is_run(tmp_path: Path) -> None:
    catalog = planned(*definitions())
    assert again(catalog, tmp_path).to_json() == catalog.to_json()
    assert "@fs.on_demand_feature_view(" in (tmp_path / "written.py").read_text(encoding="utf-8")


def test_two_functions_of_one_name_are_both_kept(tmp_path: Path) -> None:
    asked = fs.RequestSource("asked", schema=[fs.Field("x", fs.Int64)])
    code = 'def double(columns):\n    return {"out": columns["x"]}\n'
    one = fs.OnDemandFeatureView(
        "one", inputs=(), request=(asked,), schema=(fs.Field("out", fs.Int64),), code=code, function="double"
    )
    catalog = planned(one, replace(one, name="two", code=code.replace('["x"]}', '["x"] }')))
    assert again(catalog, tmp_path).to_json() == catalog.to_json()


def test_a_function_of_single_rows_stays_one(tmp_path: Path) -> None:
    asked = fs.RequestSource("asked", schema=[fs.Field("x", fs.Int64)])
    one = fs.OnDemandFeatureView(
        "one", inputs=(), request=(asked,), schema=(fs.Field("out", fs.Int64),), singleton=True,
        code='def one(row):\n    return {"out": row["x"]}\n', function="one",
    )  # fmt: skip
    catalog = planned(one)
    assert again(catalog, tmp_path).to_json() == catalog.to_json()
    raw = planned(replace(one, code="one = lambda row: {'out': row['x']}\n"))
    assert again(raw, tmp_path).to_json() == raw.to_json()


def test_names_are_given_once() -> None:
    names = Names({"fs"})
    given = [
        names.give(wanted, "view") for wanted in ("fs", "a b", "a-b", "a_b", "a.b", "日本", "1", "list", "a_b_view")
    ]
    assert len(set(given)) == len(given)
    assert all(name.isidentifier() for name in given)
