#!/usr/bin/env bash
# plugins.sh [WHEEL]: what plugin authors do, with the built wheel in clean environments and nothing of the checkout:
# a plugin that `e2i-fs new-backend` wrote passes its tests, and the one of docs/examples is built, installed and certified.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
uv="$here/.tools/bin/uv"
export UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

wheel=${1:-}
if [ -z "$wheel" ]; then
    "$uv" build --quiet --wheel --out-dir "$work/dist"
    wheel=$(ls "$work"/dist/*.whl)
fi
cp -r docs/examples/e2i-fs-sqlite "$work/e2i-fs-sqlite"
cd "$work"

counted() { # what it is, and a file with pytest's last words: one line, or all of them if that says anything but passed
    if ! tail -1 "$2" | grep -qE '^[0-9]+ passed' || tail -1 "$2" | grep -qE 'failed|error'; then cat "$2"; exit 1; fi
    echo "$1: $(tail -1 "$2")"
}

"$uv" venv --quiet --seed --python "$here/.venv/bin/python" author
(
    source author/bin/activate
    pip install --quiet "$wheel"
    e2i-fs new-backend acme >/dev/null && pip install --quiet ./e2i-fs-acme && pytest -q e2i-fs-acme --e2i-fs-profile=quick >acme.out 2>&1 || true
    counted "new-backend acme" acme.out
)

"$uv" build --quiet --wheel --out-dir "$work/plugin" "$work/e2i-fs-sqlite"
"$uv" venv --quiet --seed --python "$here/.venv/bin/python" user
(
    source user/bin/activate
    pip install --quiet "$wheel[testing]" "$work"/plugin/e2i_fs_sqlite-*.whl
    e2i-fs certify sqlite --profile quick --out certificates >certify.out 2>certify.err || { cat certify.err certify.out; exit 1; }
    python - <<'PY'
import json
made = json.load(open("certificates/sqlite.json"))
assert made["level"] == "full" and not made["deviations"], (made["level"], made["deviations"])
assert made["versions"]["e2i-fs-sqlite"] == "0.1.0", made["versions"]
print("e2i-fs certify sqlite:", made["level"], {g["group"]: g["passed"] for g in made["groups"]})
PY
    pytest -q e2i-fs-sqlite/tests/test_sqlite.py >sqlite.out 2>&1 || true
    counted "pytest e2i-fs-sqlite" sqlite.out
)
