"""Cases that other systems publish with literal answers, asked of the oracle and of every embedded backend."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from e2i_fs.testing import FakeClock
from e2i_fs.testing.oracle import Answer
from e2i_fs.testing.vectors import Vector, load_vectors, oracle_difference, vector_difference, vector_view
from tests.properties import setups

VECTORS = load_vectors()
SOURCES = {
    "kdb_aj": "kdb+",
    "feathr_point_in_time": "Feathr",
    "clickhouse_asof": "ClickHouse",
    "featureform_training_sets": "Featureform",
    "feast_point_in_time": "Feast",
    "duckdb_asof": "DuckDB",
}
FOLDER = Path(__file__).parents[1] / "vectors"


def vector_of(file: str, name: str) -> Vector:
    return next(v for v in VECTORS if (v.file, v.name) == (file, name))


@pytest.fixture(scope="module", params=["memory", "duckdb", "feast-dask-sqlite"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, FakeClock, Path]]:
    folder, clock = tmp_path_factory.mktemp(f"vectors-{request.param}"), FakeClock()
    setup = next(s for s in setups.ALL if s.name == request.param)
    with setup.open(folder / "store", clock) as one:
        yield one.store, clock, folder / "sources"


@pytest.mark.rule("P-1", "P-2", "P-3", "P-4", "P-5", "P-6", "P-7", "P-10", "T-3", "T-4", "O-1", "O-2", "O-3")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v.file}-{v.name}")
def test_a_backend_answers_a_published_case_as_the_contract_says(vector: Vector, opened) -> None:
    store, clock, folder = opened
    assert vector_difference(vector, store, folder, clock=clock) is None


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v.file}-{v.name}")
def test_the_oracle_answers_a_published_case_as_it_says(vector: Vector) -> None:
    assert oracle_difference(vector) is None


# ---- the comparison has teeth --------------------------------------------------------------------------------


def spoilt(vector: Vector, row: int, **change: Any) -> Vector:
    expected = list(vector.expected)
    expected[row] = expected[row]._replace(**change)
    return replace(vector, expected=tuple(expected))


QUOTES = ("kdb_aj", "trades_get_the_quote_in_force")
WRONG = {
    "a value": {"values": (99,)},
    "a status": {"statuses": ("NULL_VALUE",)},
    "an event time": {"event": vector_of(*QUOTES).expected[0].event + timedelta(microseconds=1)},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_one_wrong_expectation_is_noticed_and_described(change: dict[str, Any], opened) -> None:
    store, clock, folder = opened
    wrong = spoilt(vector_of(*QUOTES), 0, **change)
    for text in (vector_difference(wrong, store, folder, clock=clock), oracle_difference(wrong)):
        assert text is not None
        for part in (
            "P-1, P-4, P-6",
            "row 0",
            "sym='msft'",
            "px expected",
            f"got 101 PRESENT of {wrong.entities[0][1].date()}",
        ):
            assert part in text, text


def test_a_wrong_expectation_is_noticed_online_by_itself(opened) -> None:
    store, clock, folder = opened

    class OnlineOneOff:
        """The store, but for online values that are one too many."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def get_online_features(self, *args: Any, **more: Any) -> Any:
            answer = store.get_online_features(*args, **more)
            before = answer.to_dict()
            answer.to_dict = lambda: {n: [v and v + 1 if n == "px" else v for v in c] for n, c in before.items()}
            return answer

    text = vector_difference(vector_of(*QUOTES), OnlineOneOff(), folder, clock=clock)
    assert text is not None
    assert "online, one write" in text
    assert "got 102 PRESENT" in text


def test_every_source_that_differs_would_fail_if_it_were_believed(opened) -> None:
    store, _, folder = opened
    believed = 0
    for vector in VECTORS:
        if vector.source_says is None or vector.refused or None in vector.source_says:
            continue
        statuses = [tuple("NULL_VALUE" if v is None else "PRESENT" for v in says) for says in vector.source_says]
        answers = zip(vector.source_says, statuses, vector.expected, strict=True)
        wrong = replace(vector, expected=tuple(Answer(v, s, e.event) for v, s, e in answers))
        assert vector_difference(wrong, store, folder) is not None, vector.name
        assert oracle_difference(wrong) is not None, vector.name
        believed += 1
    assert believed >= 8


def test_a_refusal_that_does_not_come_or_is_another_is_noticed(opened) -> None:
    store, _, folder = opened
    asked = replace(vector_of(*QUOTES), refused="T-3", expected=())
    assert "got an answer" in (vector_difference(asked, store, folder) or "")
    assert "does not refuse" in (oracle_difference(asked) or "")
    timeless = replace(vector_of("duckdb_asof", "an_entity_row_without_a_time"), refused="P-3")
    assert "InvalidTimestampError" in (vector_difference(timeless, store, folder) or "")


@pytest.mark.rule("T-4")
@pytest.mark.parametrize(
    ("layout", "files"),
    [("together", [[100, 99, 101, 98]]), ("reversed", [[98, 101, 99, 100]]), ("scattered", [[98], [101], [99], [100]])],
)
def test_a_history_is_laid_out_in_files_as_the_layout_says(layout: str, files: list[list[int]], tmp_path: Path) -> None:
    view = vector_view(vector_of(*QUOTES), tmp_path, layout=layout)
    assert [pq.read_table(path).column("px").to_pylist() for path in view.source.paths] == files


# ---- the files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "title"), SOURCES.items())
def test_each_named_source_has_its_file_of_cases(file: str, title: str) -> None:
    cases = [v for v in VECTORS if v.file == file]
    assert 4 <= len(cases) <= 12
    assert {v.citation.title.split()[0] for v in cases} == {title}
    assert all("https://" in v.citation.address for v in cases)
    assert (FOLDER / f"{file}.json").is_file()
    assert max(len(v.history) for v in cases) <= 12
    assert max(len(v.entities) for v in cases) <= 20


def test_no_file_is_without_a_named_source_and_every_difference_names_its_rule() -> None:
    assert {v.file for v in VECTORS} == set(SOURCES)
    differing = [v for v in VECTORS if v.differs]
    assert len(differing) >= 10
    assert [v.name for v in differing if v.differs.split(":")[0] not in v.rules] == []


def test_no_tie_is_left_to_the_order_of_several_fields() -> None:
    for vector in VECTORS:
        ranks = [(row.key, row.event, row.created) for row in vector.history]
        assert len(vector.fields) == 1 or len(set(ranks)) == len(ranks), vector.name


def write(folder: Path, change: Any) -> Path:
    """Write a file of one good case into ``folder``, changed by ``change(form)``."""
    form = json.loads((FOLDER / "kdb_aj.json").read_text(encoding="utf-8"))
    form["cases"] = form["cases"][:1]
    change(form)
    (folder / "mine.json").write_text(json.dumps(form), encoding="utf-8")
    return folder


def case_of(form: dict[str, Any]) -> dict[str, Any]:
    return form["cases"][0]


BAD = {
    "misspelt key of the file": (lambda f: f.update(citations={}), "mine.json, key 'citations': is unknown"),
    "another version": (lambda f: f.update(version=2), "version 2"),
    "a version that is true": (lambda f: f.update(version=True), "version True"),
    "no cases": (lambda f: f.update(cases=[]), "key 'cases': holds no case"),
    "two cases of one name": (lambda f: f["cases"].append(case_of(f)), "two cases are named"),
    "a citation without a licence": (lambda f: f["citation"].pop("licence"), "key 'citation.licence': is missing"),
    "a day that is none": (lambda f: f["citation"].update(retrieved="2026-02-30"), "key 'citation.retrieved'"),
    "a case without a name": (lambda f: case_of(f).pop("name"), "case 'number 0', key 'name': is missing"),
    "a misspelt key": (lambda f: case_of(f).update(expect=[]), "key 'expect': is unknown"),
    "a rule that is no id": (lambda f: case_of(f).update(rules=["P1"]), "key 'rules[0]': 'P1' is not the id"),
    "no rule": (lambda f: case_of(f).update(rules=[]), "key 'rules': is empty"),
    "says nothing": (lambda f: case_of(f).update(says=" "), "key 'says': is text, not text that says something"),
    "an unknown dtype": (lambda f: case_of(f)["view"]["fields"].update(px="int46"), "key 'view.fields.px': 'int46'"),
    "a key of a dtype for no key": (lambda f: case_of(f)["view"]["keys"].update(sym="float64"), "key 'view.keys.sym'"),
    "a field named like the time": (
        lambda f: case_of(f)["view"]["fields"].update(event_timestamp="int64"),
        "key 'view.event_timestamp'",
    ),
    "a ttl of zero": (lambda f: case_of(f)["view"].update(ttl_us=0), "key 'view.ttl_us': is 0"),
    "created as text": (lambda f: case_of(f)["view"].update(created="no"), "key 'view.created': is text"),
    "a created time of a view without": (
        lambda f: case_of(f)["history"][0].update(created=None),
        "key 'history[0].created': is unknown",
    ),
    "a time with an offset": (
        lambda f: case_of(f)["history"][1].update(event="2024-01-01T10:01:00+00:00"),
        "key 'history[1].event'",
    ),
    "a value as text": (lambda f: case_of(f)["history"][0]["values"].update(px="100"), "key 'history[0].values.px'"),
    "a truth value for a number": (lambda f: case_of(f)["history"][0]["values"].update(px=True), "values.px': True"),
    "a long integer as a number": (
        lambda f: case_of(f)["history"][0]["values"].update(px=2**53 + 1),
        "key 'history[0].values.px': 9007199254740993",
    ),
    "a missing field": (lambda f: case_of(f)["history"][0]["values"].clear(), "key 'history[0].values.px': is missing"),
    "a missing answer": (lambda f: case_of(f)["expected"].pop(), "key 'expected': has 2 elements for 3 entity rows"),
    "an unknown status": (
        lambda f: case_of(f)["expected"][0]["statuses"].update(px="FOUND"),
        "key 'expected[0].statuses.px': 'FOUND'",
    ),
    "no time asked about": (lambda f: case_of(f)["entities"][0].update(t=None), "key 'entities': a row has no time"),
    "the source without the rule": (
        lambda f: case_of(f).update(source_says=[None] * 3),
        "'source_says' and 'differs' stand together",
    ),
    "the source in agreement": (
        lambda f: case_of(f).update(
            differs="P-1: no", source_says=[{"values": one["values"]} for one in case_of(f)["expected"]]
        ),
        "so nothing differs",
    ),
    "both answers": (lambda f: case_of(f).update(refused="T-3"), "key 'expected': is unknown"),
    "a list for an object": (lambda f: f["cases"].insert(0, []), "case 'number 0': is a list, not an object"),
}


@pytest.mark.parametrize(("change", "said"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_naming_file_case_and_key(change: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        load_vectors(write(tmp_path, change))
    assert str(caught.value).startswith("mine.json")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "form"),
    [
        ("int32", 2**31), ("int64", "7"), ("int64", "9223372036854775808"), ("int64", 1.0), ("float64", "nan"),
        ("float32", 1e39), ("float64", 10**400), ("bool", 1), ("string", 1), ("bytes", "AP8"), ("bytes", "é"),
        ("date", "20240101"), ("timestamp", "2024-01-01T00:00:00Z"), ({"decimal": [4, 2]}, "1.234"),
        ({"decimal": [4, 2]}, "123.4"), ({"decimal": [4, 2]}, "NaN"), ({"decimal": [4, 2]}, 1.5),
        ({"vector": [2]}, [1.0]), ({"vector": [2]}, [1.0, None]), ({"array": "int64"}, [1, "x"]),
        ({"struct": [["a", "int64"]]}, {"b": 1}),
    ],
)  # fmt: skip
def test_a_value_that_is_not_written_as_its_dtype_is_refused(dtype: Any, form: Any, tmp_path: Path) -> None:
    def change(file: dict[str, Any]) -> None:
        case_of(file)["view"]["fields"]["px"] = dtype
        for row in case_of(file)["history"]:
            row["values"]["px"] = form
        for one in case_of(file)["expected"]:
            one["values"]["px"] = None

    with pytest.raises(ValueError, match=r"mine.json, case 'trades_get.*', key 'history\[0\].values.px"):
        load_vectors(write(tmp_path, change))


@pytest.mark.parametrize("text", ["{", '{"version": NaN}', '{"a": 1, "a": 2}', "\ufeff{}"])
def test_text_that_is_no_plain_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="mine.json: is not JSON"):
        load_vectors(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no"):
        load_vectors(tmp_path)


ENCODED = {
    '{"decimal": [6, 2]}': ("-12.50", Decimal("-12.50")),
    '{"array": "string"}': (["a", None, ""], ["a", None, ""]),
    '{"vector": [2]}': ([0.5, "NaN"], None),
    '{"struct": [["lat", "float64"], ["at", "timestamp"]]}': (
        {"lat": -0.0, "at": "2024-01-01T00:00:00.000001Z"},
        {"lat": -0.0, "at": datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)},
    ),
    "date": ("1969-12-31", date(1969, 12, 31)),
    "int64": ("9007199254740993", 2**53 + 1),
    "float64": ("-Infinity", float("-inf")),
    "float32": (0.1, 0.10000000149011612),
    "bool": (False, False),
    "bytes": ("AP8=", b"\x00\xff"),
    "json": ('{"a": 1}', '{"a": 1}'),
}


@pytest.mark.rule("P-8")
@pytest.mark.parametrize("dtype", ENCODED)
def test_a_value_that_json_has_no_form_for_comes_through_exactly(dtype: str, tmp_path: Path, opened) -> None:
    store, clock, folder = opened
    form, value = ENCODED[dtype]
    canonical = json.loads(dtype) if dtype.startswith("{") else dtype

    def change(file: dict[str, Any]) -> None:
        case = case_of(file)
        case["name"] = f"encoded_{list(ENCODED).index(dtype)}"
        case["view"]["fields"] = {"px": canonical}
        for number, row in enumerate(case["history"]):
            row["values"]["px"] = form if number == 3 else None
        msft, ibm, ge = case["expected"]
        msft["values"], msft["statuses"] = {"px": None}, {"px": "NULL_VALUE"}
        ibm["values"] = {"px": form}
        ge["statuses"] = {"px": "NOT_FOUND"}

    (vector,) = load_vectors(write(tmp_path, change))
    assert value is None or vector.history[3].values == (value,)
    assert vector_difference(vector, store, folder, clock=clock) is None


def test_the_vectors_need_neither_pytest_nor_hypothesis() -> None:
    code = (
        "import sys; from e2i_fs.testing.vectors import load_vectors, oracle_difference; "
        "assert not [v for v in load_vectors() if oracle_difference(v)]; "
        "print([m for m in ('pytest', 'hypothesis') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
