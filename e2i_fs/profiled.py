"""What a store tells of the distribution of its features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from e2i_fs.clock import Clock
from e2i_fs.config import Config
from e2i_fs.definitions import FeatureView
from e2i_fs.routing import Router

if TYPE_CHECKING:
    from e2i_fs.ops.statistics import FeatureStatistics, Scope, Where

__all__ = ["Profiled"]


class Profiled(ABC):
    """The part of `e2i_fs.store.Store` that is about statistics."""

    _clock: Clock
    _config: Config

    @property
    @abstractmethod
    def _router(self) -> Router:
        """The way to the backends."""

    def statistics(
        self,
        feature: str,
        *,
        where: Where = "offline",
        start: datetime | None = None,
        end: datetime | None = None,
        top: int = 10,
    ) -> FeatureStatistics:
        """Return exact statistics of one feature or label, given as ``"view:feature"``, as `FeatureStatistics`.

        ``where="offline"`` covers the rows of history, ``"online"`` the one row of each key that answers now (O-2).
        Only rows with ``start <= event time <= end`` count; None means no limit. ``top`` is how many of the most
        frequent values to return.

        Raises `UnknownFeatureError`, `RequestError` for a bad ``where`` or ``top`` or an empty window, or
        `UnsupportedError` where there is nothing to count: an on-demand view, a view that is not online, or a backend
        that cannot list its online rows.

        >>> from datetime import UTC, datetime
        >>> import e2i_fs as fs
        >>> view = fs.FeatureView("hcp_stats", entities=[fs.Entity("hcp", join_keys=["hcp_id"])],
        ...                       schema=[fs.Field("trx_count", fs.Int64)], source=fs.PushSource("hcp_rows"))
        >>> store = fs.connect({"backend": "memory"})
        >>> _ = store.apply([view])
        >>> _ = store.write("hcp_stats", [{"hcp_id": "a", "event_timestamp": datetime(2024, 3, 1, tzinfo=UTC), "trx_count": 3}])
        >>> told = store.statistics("hcp_stats:trx_count", where="online")
        >>> told.rows, told.max, told.top_values
        (1, 3, ((3, 1),))
        """
        from e2i_fs.ops.statistics import of_feature

        scope = self._scope(where, start, end, top)
        return next(iter(self._router.ask(of_feature(feature, scope, self._clock)).value.values()))

    def view_statistics(
        self,
        view: str | FeatureView,
        *,
        features: Sequence[str] | None = None,
        where: Where = "offline",
        start: datetime | None = None,
        end: datetime | None = None,
        top: int = 10,
    ) -> dict[str, FeatureStatistics]:
        """Return the `FeatureStatistics` of every feature and label of a view by name, in schema order.

        ``features`` limits it to those named. The rows are read once for all of them. The other arguments, and the
        errors, are those of `statistics`.

        >>> from e2i_fs.testing import example_store
        >>> with example_store() as store:
        ...     {name: (told.rows, told.missing) for name, told in store.view_statistics("hcp_stats").items()}
        {'trx_count': (3, 0), 'engagement': (3, 1), 'converted': (3, 0)}
        """
        from e2i_fs.ops.statistics import of_view

        name = view.name if isinstance(view, FeatureView) else view
        scope = self._scope(where, start, end, top)
        return self._router.ask(of_view(name, features, scope, self._clock)).value

    def _scope(self, where: str, start: datetime | None, end: datetime | None, top: int) -> Scope:
        from e2i_fs.ops.statistics import Scope

        return Scope.checked(where, start, end, top, reject_naive=self._config.reject_naive)
