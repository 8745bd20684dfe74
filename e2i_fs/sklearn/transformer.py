"""Entity rows in, features out, inside a scikit-learn pipeline."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._set_output import _get_output_config  # public in effect: what set_output was told
from sklearn.utils.validation import _num_features, check_is_fitted

from e2i_fs.errors import (
    InvalidEntityFrameError,
    InvalidTimestampError,
    RequestError,
    UnknownFeatureError,
    UnsupportedError,
)
from e2i_fs.frames import Frame
from e2i_fs.sklearn.output import in_container
from e2i_fs.sklearn.stores import Opened, is_live

__all__ = ["FeatureStoreTransformer"]


class FeatureStoreTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Replaces entity rows by their features: as they were at each row's time, or as they are now.

    ``fit`` and ``fit_transform`` always read history, at ``timestamp_column``, so that a model learns nothing that it
    could not have known. ``transform`` reads history too with ``online=False``, and the present features with
    ``online=True``; ``"auto"`` reads history for rows with a time, and the present for rows without.

    ``store`` is a configuration (a mapping or the path of a file), a function that returns an open store, or an open
    store. The first two are opened when needed, once for each estimator and process, are closed with it (or by
    `close`), and can be pickled; an open store cannot, and pickling it raises. ``keep`` names columns of X to put
    before the features. ``to_frame`` turns an X without column names, such as an array, into a frame with the join
    keys. The other parameters are those of `FeatureStore.get_historical_features` (``as_of`` and
    ``filter_by_created_timestamp`` do not apply online). Labels cannot be requested, since they are targets (P-12).

    Pass X as a data frame. The output is an array of floats (of objects if a feature is not a number), or what
    ``set_output`` says. Missing values are NaN in floats and NULL in frames.

    >>> from datetime import datetime
    >>> import pandas as pd
    >>> from e2i_fs.sklearn import FeatureStoreTransformer
    >>> from e2i_fs.testing import example_store
    >>> rows = pd.DataFrame({"hcp_id": ["hcp_1", "hcp_1"], "event_timestamp": [datetime(2024, 3, d) for d in (2, 6)]})
    >>> with example_store() as store:
    ...     transformer = FeatureStoreTransformer(store, "hcp_model")
    ...     transformer.fit_transform(rows).tolist(), transformer.get_feature_names_out().tolist()
    ([[10.0, 0.4], [14.0, 0.5]], ['trx_count', 'engagement'])
    """

    def __init__(
        self,
        store: Any,
        features: Sequence[str] | str = (),
        *,
        timestamp_column: str = "event_timestamp",
        online: bool | Literal["auto"] = "auto",
        keep: Sequence[str] = (),
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        as_of: datetime | None = None,
        strict: bool = False,
        to_frame: Callable[[Any], Any] | None = None,
    ) -> None:
        # As scikit-learn wants it: kept as given, checked in fit.
        self.store = store
        self.features = features
        self.timestamp_column = timestamp_column
        self.online = online
        self.keep = keep
        self.full_feature_names = full_feature_names
        self.filter_by_created_timestamp = filter_by_created_timestamp
        self.as_of = as_of
        self.strict = strict
        self.to_frame = to_frame

    def fit(self, X: Any, y: Any = None) -> Self:
        """Look up the features of X in history, remember their names, and return self. ``y`` is ignored."""
        self._fitted(X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit, and return the features of X as they were at the rows' times, in one retrieval."""
        if fit_params:
            raise RequestError(f"fit takes no {', '.join(sorted(fit_params))}.")
        return self._out(X, self._fitted(X))

    def transform(self, X: Any) -> Any:
        """Return the features of X: as they were at the rows' times, or as they are now (see ``online``)."""
        check_is_fitted(self, "feature_names_out_")
        frame = self._frame(X)
        self._check_width(X)
        now = self.timestamp_column not in frame.table.column_names if self.online == "auto" else self.online
        found = self._now(frame) if now else self._history(frame)
        lacking = [name for name in self.feature_names_out_ if name not in found]
        if lacking:
            raise UnknownFeatureError(
                f"{lacking[0]!r} was there when this {type(self).__name__} was fitted, and {self.features!r} has it no more: the "
                "service or the view was changed. Fit again."
            )
        # As fitted, whatever a service or a wildcard means by now: a model knows its columns by their places.
        return self._out(X, {name: found[name] for name in self.feature_names_out_})

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the output columns: those in ``keep``, then the features."""
        check_is_fitted(self, "feature_names_out_")
        return np.asarray(self.feature_names_out_, dtype=object)

    def close(self) -> None:
        """Close the store if this estimator opened it. It is opened again when needed."""
        opened = self.__dict__.pop("_opened", None)
        if opened is not None:
            opened.close()

    # ---- looking up ---------------------------------------------------------------------------------------

    @property
    def _store(self) -> Any:
        if "_opened" not in vars(self):
            self._opened = Opened(self.store, self)
        return self._opened.store

    def _fitted(self, X: Any) -> dict[str, pa.ChunkedArray]:
        if self.online not in (True, False, "auto"):
            raise RequestError(f"online={self.online!r}: give True, False or 'auto'.")
        frame = self._frame(X)
        if self.timestamp_column not in frame.table.column_names:
            raise InvalidTimestampError(
                f"X has no column {self.timestamp_column!r}: fit looks into history, and needs the time of each row. (Features "
                "as they are now would teach a model what it cannot know.) Name the column with timestamp_column=."
            )
        columns = self._history(frame)
        self.feature_names_out_ = list(columns)
        self.n_features_in_ = len(frame.table.column_names) if self.to_frame is None else _num_features(X)
        if frame.kind in ("pandas", "polars"):
            self.feature_names_in_ = np.asarray(frame.table.column_names, dtype=object)
        return columns

    def _history(self, frame: Frame) -> dict[str, pa.ChunkedArray]:
        result = self._store.get_historical_features(
            frame.table,
            self.features,
            full_feature_names=self.full_feature_names,
            filter_by_created_timestamp=self.filter_by_created_timestamp,
            as_of=self.as_of,
            timestamp_column=self.timestamp_column,
            strict=self.strict,
        )
        return self._chosen(frame, result)

    def _now(self, frame: Frame) -> dict[str, pa.ChunkedArray]:
        result = self._store.get_online_features(
            self.features, frame.table, full_feature_names=self.full_feature_names, strict=self.strict
        )
        return self._chosen(frame, result)

    def _chosen(self, frame: Frame, result: Any) -> dict[str, pa.ChunkedArray]:
        kept = [self.keep] if isinstance(self.keep, str) else list(self.keep)
        lacking = [name for name in kept if name not in frame.table.column_names]
        if lacking:
            raise InvalidEntityFrameError(f"keep names {lacking[0]!r}, which is no column of X.")
        table = result.to_arrow()
        columns = {name: frame.table.column(name) for name in kept}
        return {**columns, **{name: table.column(name) for name in result.feature_names}}

    # ---- in and out ---------------------------------------------------------------------------------------

    def _frame(self, X: Any) -> Frame:
        if self.to_frame is not None:
            X = self.to_frame(X)
        elif isinstance(X, np.ndarray):
            raise InvalidEntityFrameError(
                "X is an array, whose columns have no names, so the join keys cannot be told. Pass a data frame, or to_frame=, "
                "a function that makes one."
            )
        return Frame(X, "X")

    def _check_width(self, X: Any) -> None:
        """Raise ``ValueError`` for an array of another width than fit saw; of a frame the columns needed are looked for."""
        if self.to_frame is not None and _num_features(X) != self.n_features_in_:
            raise InvalidEntityFrameError(
                f"X has {_num_features(X)} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input."
            )

    def _out(self, X: Any, columns: Mapping[str, pa.ChunkedArray]) -> Any:
        kind = _get_output_config("transform", self)["dense"]
        return in_container(kind, columns, X.index if type(X).__module__.partition(".")[0] == "pandas" else None)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.categorical = tags.input_tags.allow_nan = True
        return tags

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted copy with copies of the parameters, an open store shared: it cannot be copied, nor need be."""
        shared = {id(self.store): self.store} if is_live(self.store) else {}
        made = type(self)(**copy.deepcopy(self.get_params(deep=False), shared))
        for name in ("_sklearn_output_config", "_metadata_request"):
            if name in vars(self):
                setattr(made, name, copy.deepcopy(vars(self)[name]))
        return made

    def __getstate__(self) -> dict[str, Any]:
        if is_live(self.store):
            raise UnsupportedError(
                f"This {type(self).__name__} holds an open store, which cannot be pickled. Make it with what opens one instead: "
                "store={'backend': ...}, the path of a configuration, or a function that returns an open store."
            )
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_opened"}
