"""Packages that a command needs and that an extra brings: named before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from e2i_fs.errors import UnsupportedError

__all__ = ["require"]


def require(command: str, extra: str, packages: Sequence[str], otherwise: str = "") -> None:
    """Raise `UnsupportedError` unless every package can be imported; ``otherwise`` says what does without them.

    >>> require("serve", "server", ["json", "no_such_package"])
    Traceback (most recent call last):
    e2i_fs.errors.UnsupportedError: serve needs no_such_package, which is not installed: pip install "e2i-fs[server]".
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        absent = f"{' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed"
        raise UnsupportedError(f'{command} needs {absent}: pip install "e2i-fs[{extra}]". {otherwise}'.rstrip())
