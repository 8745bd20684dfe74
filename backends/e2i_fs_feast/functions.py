"""Feast's on-demand functions as functions of columns: their text is carried, nothing of it is run."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from feast.feature_view import DUMMY_ENTITY_NAME
from feast.field import Field as FeastField

from e2i_fs.adoption.code import Call, Code, Mapped, laid_out, quoted, texts
from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Field
from e2i_fs.dtypes import DType
from e2i_fs.on_demand import OnDemandFeatureView, borrowed_names, kept_text
from e2i_fs.sources import RequestSource
from e2i_fs_feast.extras import extra_of, plain_tags, said_field, said_result
from e2i_fs_feast.neutral_types import NoNeutralFormError, neutral_dtype
from e2i_fs_feast.surroundings import Surroundings

__all__ = ["carried"]

_PANDAS = {
    "int32": "int32", "int64": "int64", "float32": "float32", "float64": "float64", "bool": "bool",
    "timestamp": "datetime64[ns, UTC]",
}  # fmt: skip


def carried(message: Any, catalog: Catalog, folder: Path) -> OnDemandFeatureView:
    """Return Feast's on-demand view as a neutral one, its function inside one that takes and gives columns.

    Raises `NoNeutralFormError` when that would not mean the same, or when the function uses what is found nowhere.
    """
    spec = message.spec
    if spec.write_to_online_store:
        raise NoNeutralFormError("it is computed when rows are written (write_to_online_store), not when they are read")
    if spec.aggregations:
        raise NoNeutralFormError("it aggregates before its function")
    if any(entity != DUMMY_ENTITY_NAME for entity in spec.entities):
        raise NoNeutralFormError(f"it is about entities of its own ({', '.join(spec.entities)})")
    inputs, request, schema = _as_said(spec, _inputs(spec, catalog))
    code, function, singleton = _code(spec, inputs, _types(catalog, inputs, request), schema, folder)
    return OnDemandFeatureView(
        spec.name,
        inputs=tuple(inputs),
        request=tuple(request),
        schema=tuple(schema),
        code=code,
        function=function,
        singleton=singleton,
        tags=plain_tags(spec.tags),
        owner=spec.owner,
        description=spec.description,
    )


def _inputs(spec: Any, catalog: Catalog) -> list[str]:
    inputs: list[str] = []
    for name in sorted(spec.sources):
        source = spec.sources[name]
        if source.HasField("request_data_source"):
            continue
        if source.HasField("feature_view"):
            view = source.feature_view.spec.name
            features = [f.name for f in source.feature_view.spec.features]
        else:
            part = source.feature_view_projection
            view, features = part.feature_view_name, [f.name for f in part.feature_columns]
            if part.feature_view_name_alias or part.join_key_map or part.HasField("version_tag"):
                raise NoNeutralFormError(f"it takes {view!r} under another name, key or version")
        known = catalog.views[view].features if view in catalog.views else {}
        lacking = next((feature for feature in features if feature not in known), None)
        if view not in catalog.views or lacking is not None:
            raise NoNeutralFormError(
                f"it needs {view if lacking is None else f'{view}:{lacking}'}, which has no neutral form"
            )
        inputs += [f"{view}:{feature}" for feature in features]
    return inputs


def _request_sources(spec: Any) -> list[Any]:
    sources = [spec.sources[name] for name in sorted(spec.sources)]
    return [source.request_data_source for source in sources if source.HasField("request_data_source")]


def _schema(features: Any, said: Mapping[str, Any]) -> list[Field]:
    """Return Feast's fields as neutral ones, with the dtypes that ``said`` gives for those which Feast's types stand for."""
    made = []
    for theirs in map(FeastField.from_proto, features):
        more = said.get(theirs.name, {})
        dtype = said_field(theirs.dtype, more) or said_result(theirs.dtype, more) or neutral_dtype(theirs.dtype)
        made.append(Field(theirs.name, dtype, description=theirs.description))
    return made


def _as_said(spec: Any, inputs: list[str]) -> tuple[list[str], list[RequestSource], list[Field]]:
    """Return inputs, request and schema, in the order and the dtypes of our tag as far as Feast's object has the same names."""
    extra = extra_of(spec.tags)
    said = list(map(str, extra.get("inputs", ())))
    inputs = said if sorted(said) == sorted(inputs) else inputs
    asked = extra.get("asked", {})
    request = [
        RequestSource(source.name, schema=_schema(source.request_data_options.schema, asked))
        for source in _request_sources(spec)
    ]
    order = list(map(str, extra.get("request", ())))
    if sorted(order) == sorted(source.name for source in request):
        request.sort(key=lambda source: order.index(source.name))
    return inputs, request, _schema(spec.features, extra.get("fields", {}))


def _types(catalog: Catalog, inputs: Sequence[str], request: Sequence[RequestSource]) -> dict[str, DType]:
    found = {f.name: f.dtype for source in request for f in source.schema}
    for ref in inputs:
        view, _, feature = ref.partition(":")
        found[feature] = catalog.views[view].features[feature].dtype
    return found


def _code(
    spec: Any, inputs: Sequence[str], types: Mapping[str, DType], schema: Sequence[Field], folder: Path
) -> tuple[str, str, bool]:
    """Return the text of the neutral function, its name, and whether it takes one row at a time."""
    text, name = _function_text(spec)
    long = {f"{view}__{feature}": feature for view, _, feature in (ref.partition(":") for ref in inputs)}
    said = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    used = {key: feature for key, feature in long.items() if key in said}
    mode = spec.mode or "pandas"
    borrowed = borrowed_names(text, name)
    if mode == "python" and not borrowed and not used:
        return text, name, spec.singleton
    around = Surroundings(folder).of(text, name, borrowed)
    if mode == "pandas":
        body = _through_pandas(name, types, used, schema)
    elif mode == "python":
        body = _through_python(name, used, schema, singleton=spec.singleton)
    else:
        raise NoNeutralFormError(f"its function is of mode {mode!r}, which only Feast can run")
    parts = [*around, text, body]
    return f"def {name}(columns):\n" + "\n".join(map(_indented, parts)), name, False


def _indented(text: str) -> str:
    """Return statements one level deeper; lines that go on inside a text stay, for there white space has a meaning."""
    within: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            within.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    lines = text.splitlines()
    return "".join(f"{'    ' if line and i not in within else ''}{line}\n" for i, line in enumerate(lines, 1))


def _function_text(spec: Any) -> tuple[str, str]:
    """Return the text of Feast's function without its decorators, and its name."""
    function = spec.feature_transformation.user_defined_function
    text = textwrap.dedent(function.body_text or spec.user_defined_function.body_text)
    try:
        node = ast.parse(text).body[0]
    except (SyntaxError, IndexError, ValueError) as error:
        raise NoNeutralFormError("the text of its function was not kept, or is not a function's alone") from error
    if not isinstance(node, ast.FunctionDef):
        raise NoNeutralFormError("its function is not one that was made with def")
    taken = [*node.args.posonlyargs, *node.args.args]
    if len(taken) != 1 or node.args.kwonlyargs or node.args.vararg or node.args.kwarg:
        raise NoNeutralFormError(f"its function takes {len(taken)} arguments, not the one of Feast's")
    kept = kept_text(text, node)
    node.decorator_list = []
    if ast.dump(ast.parse(kept).body[0]) != ast.dump(node):
        raise NoNeutralFormError("its function has a text with white space at the end of a line")
    return kept, node.name


def _through_pandas(name: str, types: Mapping[str, DType], long: Mapping[str, str], schema: Sequence[Field]) -> str:
    """Return the lines that give the function a data frame, as Feast does, and take its columns back.

    Missing is NaN in pandas, so a whole number that may be missing is a float there; NaN comes back as missing.
    """
    columns = {key: _column(key, dtype) for key, dtype in types.items()}
    columns |= {key: columns[feature] for key, feature in long.items()}
    frame = laid_out(Call("pandas.DataFrame", [Mapped(columns)]), len("    frame = "))
    given = laid_out(Mapped({f.name: _listed(f) for f in schema}), len("    return "))
    return _PANDAS_TEXT.format(frame=frame, function=name, given=given)


_PANDAS_TEXT = """\
import pandas

def _column(name, kind, missing):
    return pandas.Series(columns[name], dtype=missing if None in columns[name] else kind)

def _listed(values):
    return [None if value is None or value is pandas.NaT or value != value else value for value in values]

frame = {frame}
made = {function}(frame)
return {given}
"""


def _column(name: str, dtype: DType) -> Call:
    kind = _PANDAS.get(dtype.kind, "object")
    missing = "object" if dtype.kind == "bool" else "float64" if dtype.kind in ("int32", "int64") else kind
    return Call("_column", [quoted(name), quoted(kind), quoted(missing)])


def _listed(field: Field) -> Code:
    if field.dtype.kind in ("array", "struct", "vector"):
        return f"made[{quoted(field.name)}].tolist()"
    cast = '.astype("float32")' if field.dtype.kind == "float32" else ""
    return Call("_listed", [f"made[{quoted(field.name)}]{cast}.tolist()"])


def _through_python(name: str, long: Mapping[str, str], schema: Sequence[Field], *, singleton: bool) -> str:
    lines = ["columns = dict(columns)", *(f"columns[{quoted(k)}] = columns[{quoted(v)}]" for k, v in long.items())]
    if not singleton:
        return "\n".join([*lines, f"return {name}(columns)", ""])
    return "\n".join(
        [
            *lines,
            f"made = [{name}(dict(zip(columns, row))) for row in zip(*columns.values())]",
            f"return {{key: [row[key] for row in made] for key in {laid_out(texts(f.name for f in schema))}}}",
            "",
        ]
    )
