"""The settings of materialisation.yaml, which lies beside this module, checked."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from e2i_fs.ops.settings import MaterializationConfig, load_settings

__all__ = ["materialisation"]


@cache
def materialisation() -> MaterializationConfig:
    """Return the settings of the E2I views.

    >>> materialisation().max_staleness("hcp_conversion_features")
    datetime.timedelta(seconds=43200)
    """
    return load_settings(Path(__file__).with_name("materialisation.yaml"))
