"""Finding features by words: names, descriptions and tags of what is registered, best first, with their freshness."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import Field
from e2i_fs.dtypes import DType, dtype_named
from e2i_fs.errors import BackendError, DefinitionError, FailoverError, RequestError, did_you_mean
from e2i_fs.matching import Wanted, closest, parts, words
from e2i_fs.ops.freshness import FreshnessReport, FreshnessStatus, worst

__all__ = ["FoundFeature", "nearest_words", "search"]

AskFreshness = Callable[[str], FreshnessReport]
# What a word counts for, by where it stands: a feature is first of all what it is called.
_NAME, _VIEW, _ABOUT, _TAG, _VIEW_ABOUT, _KEY, _OWNER, _SERVICE = 8.0, 5.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.0


@dataclass(frozen=True, slots=True)
class FoundFeature:
    """One feature found by `Store.search`.

    ``role`` is ``"label"`` for an outcome, which is not a model input (P-12). ``freshness`` is that of its view,
    UNKNOWN whenever it could not be determined; ``freshness_note`` says why. ``source`` is the kind of its source
    (``"parquet"``, ``"push"``, …), ``"written"`` or ``"on demand"``; ``request_columns`` must come with the request.
    ``score`` is how well it matches the words, greater is better; 0 when there were no words.

    >>> from e2i_fs.testing import example_store
    >>> with example_store() as store:
    ...     (found,) = store.search("converted")
    >>> found.ref, found.role, found.dtype, found.join_keys
    ('hcp_stats:converted', 'label', Bool, (('hcp_id', String),))
    """

    ref: str
    view: str
    feature: str
    dtype: DType
    role: Literal["feature", "label"]
    entities: tuple[str, ...]
    join_keys: tuple[tuple[str, DType], ...]
    ttl: timedelta | None
    max_staleness: timedelta | None
    owner: str
    description: str
    tags: Mapping[str, str]
    online: bool
    services: tuple[str, ...]
    source: str
    request_columns: tuple[str, ...] = ()
    freshness: FreshnessStatus = FreshnessStatus.UNKNOWN
    freshness_note: str = ""
    score: float = 0.0


def search(
    catalog: Catalog,
    text: str = "",
    *,
    freshness: AskFreshness,
    use_case: str | None = None,
    entity: str | None = None,
    owner: str | None = None,
    tags: Mapping[str, str] | None = None,
    dtype: DType | str | None = None,
    role: str | None = None,
    limit: int = 20,
) -> list[FoundFeature]:
    """Return the features that ``text`` is about, best first; every feature that the filters let by when it is empty.

    ``freshness`` is asked once for each view in the answer and for no other. See `Store.search` for the rest.
    """
    if not isinstance(text, str):
        raise RequestError(f"search takes words as one text, not {text!r}.")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise RequestError(f"limit is {limit!r}; give a whole number of at least 1.")
    if tags is not None and not isinstance(tags, Mapping):
        raise RequestError(f"tags is {tags!r}; give a mapping of names to values.")
    if role not in (None, "feature", "label"):
        raise RequestError(
            f"role is {role!r}; use 'feature' or 'label'.{did_you_mean(str(role), ['feature', 'label'])}"
        )
    wanted_dtype = _dtype(dtype) if isinstance(dtype, str) else dtype
    found = [
        f
        for f in _all(catalog)
        if _same(entity, f.entities)
        and _same(owner, (f.owner,))
        and _same(use_case, _use_cases(catalog, f))
        and all(_same(value, (f.tags.get(key),)) for key, value in (tags or {}).items())
        and wanted_dtype in (None, f.dtype)
        and role in (None, f.role)
    ]
    told = [_told(catalog, f) for f in found]
    asked = Wanted(text, {word for each in told for _, said in each for word in said})
    scored = [replace(f, score=asked.score(each, (f.feature, f.ref))) for f, each in zip(found, told, strict=True)]
    scored = [f for f in scored if f.score > 0 or not asked.words]
    best = sorted(scored, key=lambda f: (-f.score, f.ref))[:limit]
    asked_of: dict[str, tuple[FreshnessStatus, str]] = {}
    return [_with_freshness(catalog, f, freshness, asked_of) for f in best]


def nearest_words(catalog: Catalog, *asked: str | None) -> list[str]:
    """Return the words of the catalogue nearest to those asked for, when a search found nothing.

    >>> from e2i_fs import Entity, FeatureView, Field, Int64
    >>> view = FeatureView("visits", entities=[Entity("hcp")], schema=[Field("weekly_count", Int64)])
    >>> nearest_words(Catalog().planned([view], "")[0], "wekly visitors")
    ['weekly', 'visits']
    """
    known = {word for f in _all(catalog) for _, texts in _said(catalog, f) for text in texts for word in parts(text)}
    near = [n for text in asked for word in parts(text or "") for n in closest(word, known, cutoff=0.55)]
    return list(dict.fromkeys(near))


def _dtype(name: str) -> DType:
    try:
        return dtype_named(name)
    except DefinitionError as error:  # here it is a mistake of who asks, and no definition is wrong
        raise RequestError(str(error)) from error


def _all(catalog: Catalog) -> Iterable[FoundFeature]:
    """Yield every feature of the catalogue, stored and on demand, as found and not yet judged."""
    for name in catalog.views:
        view = catalog.view(name)
        keys = tuple(catalog.join_keys(name).items())
        source = "written" if view.source is None else view.source.kind
        for field in view.schema:
            yield FoundFeature(
                entities=view.entity_names, join_keys=keys, ttl=view.ttl, max_staleness=view.max_staleness,
                owner=view.owner, tags=view.tags, online=view.online, source=source,
                **_of_field(catalog, name, field, view.description),
            )  # fmt: skip
    for name, computed in catalog.on_demand.items():
        inputs = _inputs(catalog, name)
        entities = dict.fromkeys(e for view in inputs for e in catalog.views[view].entity_names)
        joined = {key: dtype for view in inputs for key, dtype in catalog.join_keys(view).items()}
        for field in computed.schema:
            yield FoundFeature(
                entities=tuple(entities), join_keys=tuple(joined.items()), ttl=None, max_staleness=None,
                owner=computed.owner, tags=computed.tags, online=all(catalog.views[view].online for view in inputs),
                source="on demand", request_columns=tuple(computed.request_columns),
                **_of_field(catalog, name, field, computed.description),
            )  # fmt: skip


def _of_field(catalog: Catalog, view: str, field: Field, about: str) -> dict[str, Any]:
    ref = f"{view}:{field.name}"
    wild = {f"{view}:*"} if field.role == "feature" else set()
    services = sorted(name for name, s in catalog.services.items() if {ref, *wild} & set(s.refs))
    return {
        "ref": ref,
        "view": view,
        "feature": field.name,
        "dtype": field.dtype,
        "role": field.role,
        "services": tuple(services),
        "description": field.description or about,
    }


def _inputs(catalog: Catalog, on_demand: str) -> list[str]:
    """Return the stored views that an on-demand view reads."""
    return list(dict.fromkeys(ref.partition(":")[0] for ref in catalog.on_demand[on_demand].inputs))


def _told(catalog: Catalog, f: FoundFeature) -> list[tuple[float, frozenset[str]]]:
    """Return the words that speak of a feature, with what a word counts for where it stands."""
    return [(weight, frozenset(w for text in texts for w in words(text))) for weight, texts in _said(catalog, f)]


def _said(catalog: Catalog, f: FoundFeature) -> list[tuple[float, Iterable[str]]]:
    view = catalog.views.get(f.view) or catalog.on_demand[f.view]
    keys = [*f.entities, *(key for key, _ in f.join_keys)]
    return [
        (_NAME, [f.feature]),
        (_VIEW, [f.view]),
        (_ABOUT, [f.description]),
        (_TAG, [*f.tags.values(), *f.tags]),
        (_VIEW_ABOUT, [view.description]),
        (_KEY, keys),
        (_OWNER, [f.owner]),
        (_SERVICE, f.services),
    ]


def _use_cases(catalog: Catalog, f: FoundFeature) -> Iterable[str | None]:
    return [f.tags.get("use_case"), *(catalog.services[s].tags.get("use_case") for s in f.services)]


def _same(wanted: str | None, given: Iterable[str | None]) -> bool:
    return wanted is None or wanted.casefold() in [g.casefold() for g in given if g is not None]


def _with_freshness(
    catalog: Catalog, f: FoundFeature, ask: AskFreshness, known: dict[str, tuple[FreshnessStatus, str]]
) -> FoundFeature:
    views = _inputs(catalog, f.view) if f.view in catalog.on_demand else [f.view]
    for view in views:
        if view not in known:
            known[view] = _asked(catalog, view, ask)
    if not views:
        return replace(f, freshness_note="computed from the request alone, in which nothing ages")
    status = worst(known[view][0] for view in views)
    note = "; ".join(known[view][1] for view in views if known[view][1])
    if f.view in catalog.on_demand:
        note = f"the worst of {', '.join(views)}" + (f"; {note}" if note else "")
    return replace(f, freshness=status, freshness_note=note)


def _asked(catalog: Catalog, view: str, ask: AskFreshness) -> tuple[FreshnessStatus, str]:
    if not catalog.views[view].online:
        return FreshnessStatus.UNKNOWN, f"{view} is not online"
    try:
        report = ask(view)
    except (BackendError, FailoverError) as error:  # what is registered is known all the same, and its age is not
        return FreshnessStatus.UNKNOWN, f"{view} could not be asked: {error}"
    if report.age is None:
        return report.status, f"nothing of {view} is online"
    return report.status, f"told by {report.served_by}, which may have missed a write" if report.degraded else ""
