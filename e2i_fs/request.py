"""What is asked for: references resolved against the catalogue, once, before any backend is asked (P-9, P-11, P-12)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e2i_fs.catalog import Catalog
from e2i_fs.definitions import FeatureService, FeatureView, Field
from e2i_fs.errors import (
    FeatureNameCollisionError,
    LabelRequestedError,
    RequestError,
    UnknownFeatureError,
    did_you_mean,
)
from e2i_fs.on_demand import OnDemandFeatureView

__all__ = ["Output", "Request", "resolve", "views_of"]


@dataclass(frozen=True, slots=True)
class Output:
    """One column of the answer: its name, the reference behind it, and its field."""

    name: str
    ref: str
    view: str
    field: Field


@dataclass(frozen=True, slots=True)
class Request:
    """A resolved request.

    ``outputs`` in the order asked for; ``views`` has the stored views to read with the features of each, those
    that only an on-demand view takes included; ``on_demand`` the on-demand views to run; ``columns`` the request
    columns these take.
    """

    outputs: tuple[Output, ...]
    views: Mapping[str, tuple[str, ...]]
    on_demand: tuple[OnDemandFeatureView, ...]
    join_keys: tuple[str, ...]
    columns: tuple[str, ...]

    def check_collisions(self, inputs: Iterable[str]) -> None:
        """Raise `FeatureNameCollisionError` if an output is named like an input column (P-9)."""
        taken = set(inputs)
        for output in self.outputs:
            if output.name in taken:
                raise FeatureNameCollisionError(
                    f"The feature {output.ref!r} would be named {output.name!r} like a column of the entity rows. "
                    f"Pass full_feature_names=True to get {output.view}__{output.field.name}, or rename the column (P-9)."
                )

    def check_created(self, catalog: Catalog) -> None:
        """Raise `RequestError` if a view has no created time: what was known when cannot be told of it (P-3)."""
        for name in self.views:
            if catalog.views[name].created_column is None:
                raise RequestError(
                    f"View {name!r} has no created time, so what was known when cannot be told (P-3). Give its source a "
                    "created_timestamp_field, or ask without filter_by_created_timestamp and as_of."
                )

    def check_case(self, inputs: Iterable[str]) -> None:
        """Raise `FeatureNameCollisionError` if two columns differ only by case, which DuckDB would rename (P-9)."""
        seen: dict[str, str] = {}
        for name in (*inputs, *(o.name for o in self.outputs)):
            if seen.setdefault(name.lower(), name) != name:
                raise FeatureNameCollisionError(
                    f"The columns {seen[name.lower()]!r} and {name!r} differ only by case, and entity_df is a DuckDB "
                    "relation, which takes them for one. Pass an Arrow table, or full_feature_names=True (P-9)."
                )


def resolve(
    catalog: Catalog,
    features: Sequence[str] | FeatureService | str,
    *,
    labels: Sequence[str] = (),
    full_feature_names: bool = False,
) -> Request:
    """Return the request that ``features`` stands for.

    ``features`` is a list of ``view:feature`` and ``view:*`` (every feature that is no label, in schema order), a
    feature service, or its name. What ``labels`` names is given too, after the features unless it stands among
    them. Raises `UnknownFeatureError` (nearest names), `LabelRequestedError`, `FeatureNameCollisionError`, or
    `RequestError` when nothing is asked for.
    """
    asked = tuple(_references(catalog, features))
    named = (labels,) if isinstance(labels, str) else tuple(labels)
    odd = next((label for label in named if not isinstance(label, str)), None)
    if odd is not None:
        raise RequestError(f"labels holds a {type(odd).__name__}; give 'view:feature' references (P-12).")
    return catalog.remembered(
        ("request", asked, named, full_feature_names), lambda: _resolved(catalog, asked, named, full_feature_names)
    )


def _resolved(catalog: Catalog, asked: Sequence[str], labels: Sequence[str], full_feature_names: bool) -> Request:
    label_refs = [ref for given in labels for ref in _expand(catalog, given, role="label")]
    allowed = {f"{view}:{field.name}" for view, field in label_refs}
    chosen: list[tuple[str, Field]] = []
    for given in asked:
        for view, field in _expand(catalog, given, role="feature"):
            ref = f"{view}:{field.name}"
            if field.role == "label" and ref not in allowed:
                raise LabelRequestedError(
                    f"{ref!r} is a label: it is not given as a model input. If it is the target of a training set, "
                    f"name it with labels=[{ref!r}] (P-12); online there are no labels."
                )
            chosen.append((view, field))
    present = {(view, field.name) for view, field in chosen}
    chosen += [(view, field) for view, field in label_refs if (view, field.name) not in present]
    if not chosen:
        raise RequestError(
            f"No features are asked for: {list(asked)!r} stands for none that is no label. Name at least one (P-11, P-12)."
        )
    outputs = tuple(
        Output(f"{view}__{f.name}" if full_feature_names else f.name, f"{view}:{f.name}", view, f) for view, f in chosen
    )
    _no_twins(outputs, full_feature_names)
    return _needs(catalog, outputs)


def views_of(request: Request) -> list[str]:
    """Return the names of the views that a request reads or runs."""
    return [*request.views, *(view.name for view in request.on_demand)]


def _references(catalog: Catalog, features: Any) -> list[str]:
    if isinstance(features, FeatureService):
        return list(features.refs)
    if isinstance(features, str):
        return [features] if ":" in features else list(catalog.service(features).refs)
    if isinstance(features, FeatureView | OnDemandFeatureView):
        return [f"{features.name}:*"]
    if not isinstance(features, Sequence):
        raise RequestError(
            f"features is a {type(features).__name__}; give a list of 'view:feature' references, a feature service, or its name."
        )
    if not features:
        raise RequestError("features is an empty list; name at least one 'view:feature' (P-11).")
    refs: list[str] = []
    for ref in features:
        if isinstance(ref, FeatureView | OnDemandFeatureView):
            refs.append(f"{ref.name}:*")
        elif isinstance(ref, str):
            refs.append(ref)
        else:
            raise RequestError(f"features holds a {type(ref).__name__}; give 'view:feature' references.")
    return refs


def _expand(catalog: Catalog, ref: str, *, role: str) -> list[tuple[str, Field]]:
    """Return the views and fields that one reference stands for; a wildcard takes only fields of ``role``."""
    view_name, colon, feature = ref.partition(":")
    if not colon or not feature or ":" in feature:
        known = [f"{v}:{f}" for v, view in catalog.views.items() for f in view.features]
        same = [k for k in known if k.endswith(f":{ref}")]
        hint = f" Did you mean {same[0]!r}?" if same else did_you_mean(ref, known)
        raise UnknownFeatureError(f"{ref!r} is not a reference; write 'view:feature' or 'view:*'.{hint}")
    view = catalog.on_demand.get(view_name) or catalog.view(view_name)
    if feature == "*":
        return [(view_name, f) for f in view.schema if f.role == role]
    for field in view.schema:
        if field.name == feature:
            return [(view_name, field)]
    nearest = did_you_mean(feature, view.features, prefix=f"{view_name}:")
    raise UnknownFeatureError(f"Unknown feature {ref!r}.{nearest}")


def _no_twins(outputs: Sequence[Output], full: bool) -> None:
    seen: dict[str, str] = {}
    for output in outputs:
        if output.name in seen:
            if seen[output.name] == output.ref:
                raise FeatureNameCollisionError(f"{output.ref!r} is asked for twice; name it once (P-9).")
            fix = "Ask for them apart." if full else "Pass full_feature_names=True to get view__feature names (P-9)."
            raise FeatureNameCollisionError(
                f"{seen[output.name]!r} and {output.ref!r} would both be named {output.name!r}. {fix}"
            )
        seen[output.name] = output.ref


def _needs(catalog: Catalog, outputs: tuple[Output, ...]) -> Request:
    wanted: dict[str, dict[str, None]] = {}
    on_demand: dict[str, OnDemandFeatureView] = {}
    for output in outputs:
        if output.view in catalog.on_demand:
            on_demand.setdefault(output.view, catalog.on_demand[output.view])
        else:
            wanted.setdefault(output.view, {})[output.field.name] = None
    for view in on_demand.values():
        for ref in view.inputs:
            name, _, feature = ref.partition(":")
            wanted.setdefault(name, {})[feature] = None
    keys: dict[str, None] = {}
    for name in wanted:
        keys.update(dict.fromkeys(catalog.join_keys(name)))
    columns = {c: None for view in on_demand.values() for c in view.request_columns}
    return Request(
        outputs, {name: tuple(f) for name, f in wanted.items()}, tuple(on_demand.values()), tuple(keys), tuple(columns)
    )
