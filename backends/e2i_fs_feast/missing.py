"""What to install for a store of Feast's whose module it cannot import."""

from __future__ import annotations

import re
from importlib.metadata import metadata

__all__ = ["to_install"]

_MODULE = re.compile(r"Could not import module '([\w.]+)'")
_OURS = ("postgres", "redis", "spark")  # extras of e2i-fs too, with the versions that it is tested with
_OF_CLOUDS = {
    "athena": "aws",
    "bigquery": "gcp",
    "bigtable": "gcp",
    "datastore": "gcp",
    "dynamodb": "aws",
    "redshift": "aws",
}


def to_install(error: str) -> str:
    """Return a sentence for an error of Feast's that says what it could not import; nothing for another one.

    >>> to_install("Could not import module 'feast.infra.online_stores.redis' while attempting to load a class")
    ' Install what that store needs: pip install "e2i-fs[feast,redis]"'
    """
    told = _MODULE.search(error)
    if told is None:
        return ""
    extra = _extra(told[1])
    if extra is None:
        return " Install the package that this store is in."
    wanted = f"e2i-fs[feast,{extra}]" if extra in _OURS else f"feast[{extra}]"
    return f' Install what that store needs: pip install "{wanted}"'


def _extra(module: str) -> str | None:
    """Return the extra that a module of Feast's stores needs, None when it is not Feast's or has none."""
    if not module.startswith("feast."):
        return None
    extras = metadata("feast").get_all("Provides-Extra") or ()
    for part in reversed(module.split(".")):
        name = re.sub(r"_?(online|offline)(_stores?)?$", "", part)
        if name in _OF_CLOUDS or name in extras:
            return _OF_CLOUDS.get(name, name)
    return None
