"""What importing costs and who may import whom."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import e2i_fs as fs
from e2i_fs.aio import AsyncStore
from e2i_fs.store import Store

ROOT = Path(__file__).parents[2]
HEAVY = ["pandas", "pyarrow", "duckdb", "feast", "polars", "numpy"]


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = fresh(f"import sys, e2i_fs; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded == "[]"


def test_defining_features_imports_nothing_heavy() -> None:
    code = (
        "import sys, e2i_fs as fs\n"
        "fs.FeatureView('v', entities=[fs.Entity('e')], schema=[fs.Field('x', fs.Int64)], source=fs.ParquetSource('a'))\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert fresh(code) == "[]"


def test_the_first_online_answer_of_a_store_needs_neither_pyarrow_nor_numpy(tmp_path) -> None:
    """What an agent waits for when it starts: a store that is there is opened and asked."""
    opened = f"store = fs.connect({{'backend': 'duckdb', 'path': {str(tmp_path)!r}}})\n"
    fresh(
        "import e2i_fs as fs\nfrom datetime import datetime, UTC\n" + opened + "view = fs.FeatureView('v', "
        "entities=[fs.Entity('e')], schema=[fs.Field('x', fs.Int64)], source=fs.PushSource('p'))\n"
        "store.apply([view])\nimport pyarrow as pa\n"
        "store.write('v', pa.table({'e': ['a'], 'event_timestamp': [datetime(2024, 1, 1, tzinfo=UTC)], 'x': [5]}), to='online')"
    )
    code = (
        "import sys, e2i_fs as fs\n" + opened + "answer = store.get_online_features(['v:x'], [{'e': 'a'}])\n"
        "assert answer.to_dict() == {'e': ['a'], 'x': [5]}, answer.to_dict()\nanswer.statuses, answer.provenance\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert fresh(code) == "[]"


@pytest.mark.rule("G-1")
def test_listing_plugins_imports_neither_feast_nor_duckdb() -> None:
    code = (
        "import sys\nfrom e2i_fs.plugins import Plugins\n"
        "names = sorted(f.name for f in Plugins().found if f.spec)\n"
        f"print(names, [m for m in {HEAVY} if m in sys.modules])"
    )
    assert fresh(code) == "['duckdb', 'feast', 'memory'] []"


def test_every_public_name_can_be_imported_and_no_other_is_listed() -> None:
    assert fs.__all__ == sorted(fs.__all__)
    for name in fs.__all__:
        assert getattr(fs, name) is not None
    assert not [name for name in fs.__all__ if name.startswith("_") and name != "__version__"]


def test_what_the_methods_of_a_store_give_has_a_public_name() -> None:
    """So that a user's own code can be typed; `get_type_hints` would need what is imported for typing only."""
    for kind in (Store, AsyncStore):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            given = method.__annotations__.get("return", "None")
            if not name.startswith("_"):
                named = set(re.findall(r"\b[A-Z]\w+", given)) - {"Mapping", "None"}
                assert named <= set(fs.__all__), (kind, name, given)


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="FeatureVew"):
        _ = fs.FeatureVew  # type: ignore[attr-defined]


def test_imports_run_one_way() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    if not tool.exists():
        pytest.skip("import-linter is not installed: pip install import-linter")
    done = subprocess.run([tool, "--no-cache"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
