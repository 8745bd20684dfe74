"""On-demand feature views: one Python function over retrieved columns, the same offline and online.

The function is kept as its source text, so that every process and every Python runs the same words. It must
therefore stand alone: what it imports, it imports inside its body.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import inspect
import symtable
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any

from e2i_fs.definitions import FeatureView, Field, check_name
from e2i_fs.errors import DefinitionError
from e2i_fs.frozen import FrozenMap
from e2i_fs.sources import RequestSource

__all__ = ["OnDemandFeatureView", "borrowed_names", "kept_text", "on_demand_feature_view"]

Columns = Mapping[str, list[Any]]


@dataclass(frozen=True, slots=True)
class OnDemandFeatureView:
    """Features computed at retrieval time from other features and from columns of the request.

    Made by `on_demand_feature_view`. ``inputs`` are ``view:feature`` references. The function gets a mapping of feature
    name to a list of values, one per row (None where missing), and returns such a mapping with every field of
    ``schema``. With ``singleton`` it gets and returns single values, one row at a time.
    """

    name: str
    _: KW_ONLY
    inputs: tuple[str, ...]
    request: tuple[RequestSource, ...] = ()
    schema: tuple[Field, ...]
    code: str
    function: str
    singleton: bool = False
    tags: Mapping[str, str] = field(default_factory=FrozenMap)
    owner: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name, "OnDemandFeatureView")
        if not self.schema:
            raise DefinitionError(f"OnDemandFeatureView({self.name!r}): schema is empty; list what it returns.")
        if not self.inputs and not self.request:
            raise DefinitionError(
                f"OnDemandFeatureView({self.name!r}): sources is empty; name views or a RequestSource."
            )
        names = [ref.partition(":")[2] for ref in self.inputs] + [f.name for s in self.request for f in s.schema]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise DefinitionError(
                f"OnDemandFeatureView({self.name!r}): two of its inputs are called {twice!r}, and the function gets them by "
                "name; name single features ('view:feature') as sources, or rename one."
            )
        object.__setattr__(self, "tags", FrozenMap(self.tags))

    @property
    def features(self) -> Mapping[str, Field]:
        """The fields by name, in schema order."""
        return {f.name: f for f in self.schema}

    @property
    def request_columns(self) -> Mapping[str, Field]:
        """The columns that must come with the request, by name."""
        return {f.name: f for source in self.request for f in source.schema}

    def load(self) -> Callable[[Columns], Columns]:
        """Return the function itself, compiled from its stored source text."""
        namespace: dict[str, Any] = {}
        exec(_compiled(self.code, self.name), namespace)  # noqa: S102 - the definition is code
        loaded: Callable[[Columns], Columns] = namespace[self.function]
        return loaded

    def canonical(self) -> dict[str, Any]:
        """Return the JSON value, code included, from which the fingerprint is computed (R-2)."""
        return {
            "on_demand_view": self.name,
            "inputs": list(self.inputs),
            "request": [r.canonical() for r in self.request],
            "schema": [f.canonical() for f in self.schema],
            "code": self.code,
            "function": self.function,
            **({"singleton": True} if self.singleton else {}),  # unsaid otherwise: older fingerprints stay
        }

    def to_json(self) -> dict[str, Any]:
        """Return the whole definition as a JSON value that `from_json` reads."""
        return {**self.canonical(), "tags": dict(self.tags), "owner": self.owner, "description": self.description}

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> OnDemandFeatureView:
        """Return the view that `to_json` wrote."""
        return cls(
            form["on_demand_view"],
            inputs=tuple(form["inputs"]),
            request=tuple(
                RequestSource(r["name"], schema=[Field.from_canonical(f) for f in r["schema"]]) for r in form["request"]
            ),
            schema=tuple(Field.from_canonical(f) for f in form["schema"]),
            code=form["code"],
            function=form["function"],
            singleton=form.get("singleton", False),
            tags=form.get("tags", {}),
            owner=form.get("owner", ""),
            description=form.get("description", ""),
        )


@lru_cache(maxsize=256)
def _compiled(code: str, view: str) -> CodeType:
    flags = __future__.annotations.compiler_flag  # annotations name types that the kept text does not import
    made: CodeType = compile(code, f"<on-demand feature view {view}>", "exec", flags=flags)
    return made


def on_demand_feature_view(
    name: str | None = None,
    *,
    sources: Sequence[FeatureView | RequestSource | str],
    schema: Sequence[Field],
    singleton: bool = False,
    tags: Mapping[str, str] | None = None,
    owner: str = "",
    description: str = "",
) -> Callable[[Callable[[Columns], Columns]], OnDemandFeatureView]:
    """Turn a function over columns into an `OnDemandFeatureView`; used as a decorator.

    ``name`` is the function's unless given. ``sources`` are feature views (all their features, but no labels),
    ``view:feature`` references and request sources; ``schema`` lists the fields it returns. The function takes a
    mapping of name to list, and returns one. It is stored as source text, so it must import whatever it needs inside
    its body: using a name from outside raises `DefinitionError` immediately, as do sources that make no sense.

    Each row must be computed from that row alone (P-10). A function that looks across rows (their mean, the previous
    row) would give other values online than in training, and leak later rows into a training set. So a request of more
    than one row is checked by computing it again in parts, and a difference raises `DefinitionError`. Up to 32 rows
    offline and 4 online are each computed alone; a larger request is computed in two halves, and that many of its rows
    alone. With ``singleton=True`` the function gets one row at a time, as a mapping of name to value, and returns such
    a mapping: it cannot look across rows, but is slower if it uses a library for columns.

    >>> from e2i_fs import on_demand_feature_view
    >>> from e2i_fs import Field, Float64, RequestSource
    >>> amount = RequestSource("amount", schema=[Field("price", Float64)])
    >>> @on_demand_feature_view(sources=[amount], schema=[Field("double", Float64)])     # doctest: +SKIP
    ... def doubled(columns):
    ...     return {"double": [None if p is None else 2 * p for p in columns["price"]]}
    """

    def decorate(function: Callable[[Columns], Columns]) -> OnDemandFeatureView:
        own = name or function.__name__
        inputs: list[str] = []
        request: list[RequestSource] = []
        for source in sources:
            if isinstance(source, RequestSource):
                request.append(source)
            elif isinstance(source, FeatureView):
                inputs.extend(f"{source.name}:{f.name}" for f in source.schema if f.role == "feature")
            elif isinstance(source, str) and source.count(":") == 1 and not source.endswith(":*"):
                inputs.append(source)
            else:
                raise DefinitionError(
                    f"on_demand_feature_view({own!r}): {source!r} is not a FeatureView, a RequestSource or 'view:feature'."
                )
        return OnDemandFeatureView(
            own,
            inputs=tuple(inputs),
            request=tuple(request),
            schema=tuple(schema),
            code=_source_text(function, own),
            function=function.__name__,
            singleton=singleton,
            tags=tags or {},
            owner=owner,
            description=description or inspect.getdoc(function) or "",
        )

    return decorate


def _source_text(function: Callable[..., Any], view: str) -> str:
    """Return the text of ``function`` without its decorators, or raise if it cannot stand alone."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise DefinitionError(
            f"on_demand_feature_view({view!r}): the source of the function cannot be read; define it in a file."
        ) from error
    node = ast.parse(text).body[0]
    if not isinstance(node, ast.FunctionDef):
        raise DefinitionError(f"on_demand_feature_view({view!r}): decorate a plain function made with def.")
    code = kept_text(text, node)
    borrowed = borrowed_names(code, node.name)
    if borrowed:
        raise DefinitionError(
            f"on_demand_feature_view({view!r}): the function uses {borrowed[0]!r} from outside its body. "
            "Import or define it inside, so that every process runs the same code."
        )
    return code


def kept_text(text: str, node: ast.FunctionDef) -> str:
    """Return the lines of ``text`` in which ``node`` stands, without its decorators: the form that is kept."""
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def borrowed_names(code: str, function: str) -> list[str]:
    """Return the names that ``code`` takes from its module, builtins left out, annotations not looked at."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    own: set[str] = set()

    def gather(table: symtable.SymbolTable) -> None:
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
                own.add(symbol.get_name())
        for child in table.get_children():
            gather(child)

    gather(symtable.symtable(ast.unparse(tree), "<on-demand>", "exec"))
    return sorted(n for n in own if n != function and not hasattr(builtins, n))
