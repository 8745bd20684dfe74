"""The E2I feature repository: what is defined. `feature_repo.generate` makes data that fits it. See README.md."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["definitions"]


def definitions(
    data_dir: str | os.PathLike[str] = "data", *, postgres: str | None = None, schema: str | None = None
) -> list[Any]:
    """Return everything to apply: five entities, nine views, one on-demand view, four services.

    ``data_dir`` is the folder of the Parquet files that `feature_repo.generate.generate` writes; a relative one
    is taken from the folder of the configuration. With ``postgres``, a connection such as ``"${E2I_POSTGRES}"``, the rows
    come from tables instead, which `feature_repo.postgres.load` fills; ``schema`` says in which schema, where it is not
    the one that the database looks in by itself.

    >>> len(definitions())
    19
    """
    from .entities import ENTITIES
    from .on_demand import hcp_request_features
    from .services import SERVICES
    from .sources import sources
    from .views import views

    return [*ENTITIES, *views(sources(data_dir, postgres=postgres, schema=schema)), hcp_request_features, *SERVICES]
