"""Distributions: the statistics of a view's features, offline and online, as the page draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from e2i_fs.page.said import asked
from e2i_fs.page.shown import Shown

if TYPE_CHECKING:
    from e2i_fs.ops.statistics import FeatureStatistics, Where

__all__ = ["figures"]


def figures(store: Shown, view: str, *, online: bool) -> dict[str, Mapping[str, Any]]:
    """Return ``offline`` and ``online`` statistics by feature, each under ``features``, or why there are none.

    Looks at the whole history of the view, so it takes as long as reading that does.
    """

    def ask(where: Where) -> Mapping[str, Any]:
        return asked(lambda: {"features": {n: _plain(s) for n, s in store.view_statistics(view, where=where).items()}})

    keeps_nothing = {"absent": "The view is not online (online=False)."}
    return {"offline": ask("offline"), "online": ask("online") if online else keeps_nothing}


def _plain(statistics: FeatureStatistics) -> dict[str, Any]:
    told = {f.name: getattr(statistics, f.name) for f in fields(statistics)}
    return {**told, "dtype": repr(told["dtype"])}
