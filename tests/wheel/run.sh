#!/usr/bin/env bash
# Builds the wheel and walks the whole road from it in clean environments: no extras, without pandas, with pandas 3,
# with Feast, and on each Python that is here.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
uv="$here/.tools/bin/uv"
export UV_PYTHON_DOWNLOADS=never
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$uv" build --quiet --wheel --out-dir "$work/dist"
wheel=$(ls "$work"/dist/*.whl)
cp tests/wheel/road.py "$work/road.py"
"$here/.venv/bin/python" - "$wheel" <<'PY'
import sys, zipfile
names = zipfile.ZipFile(sys.argv[1]).namelist()
tops = {n.split("/")[0] for n in names if ".dist-info" not in n}
assert tops == {"e2i_fs", "e2i_fs_duckdb", "e2i_fs_feast"}, tops
for wanted in ("e2i_fs/py.typed", "e2i_fs/_feature_repo/materialisation.yaml"):
    assert wanted in names, wanted
print("wheel holds", sorted(tops))
PY

walk() { # name, backend, python, what to install beside the wheel
    local env="$work/$1"
    "$uv" venv --quiet --python "$3" "$env"
    "$uv" pip install --quiet --python "$env/bin/python" "${@:4}"
    (cd "$work" && "$env/bin/python" -I road.py "$2" | tee "$env.out")
}

first="$here/.venv/bin/python"
# Plain pip, no extras: the base install by itself, and no pandas in it.
"$uv" venv --quiet --seed --python "$first" "$work/pip"
"$work/pip/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"
if "$work/pip/bin/python" -c "import pandas" 2>/dev/null; then echo "the base install brought pandas"; exit 1; fi
(cd "$work" && "$work/pip/bin/python" -I road.py duckdb | tee "$work/pip.out")
(cd "$work" && "$work/pip/bin/e2i-fs" doctor --json >/dev/null) || { echo "e2i-fs doctor failed on the base install"; exit 1; }
walk pandas3 duckdb "$first" "$wheel" "pandas>=3"
walk feast feast "$first" "$wheel[feast]"
for version in 3.12 3.13; do
    found=""
    for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python "$(command -v "python$version" || true)"; do
        if [ -x "$python" ] && "$python" -c pass 2>/dev/null; then found=$python; fi
    done
    if [ -n "$found" ]; then walk "py$version" duckdb "$found" "$wheel"; else echo "python $version is not here: not tried"; fi
done
test "$(cat "$work"/*.out | grep ^fingerprint | sort -u | wc -l)" = 1
bash tests/wheel/plugins.sh "$wheel"
echo "one fingerprint in all of them; wheel passed"
