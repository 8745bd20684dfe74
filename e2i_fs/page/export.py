"""Writing the page into a folder: its own or an empty one, and whole."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from e2i_fs.errors import RequestError
from e2i_fs.page.html import MARK

__all__ = ["check_folder", "write_page"]

_PAGE = "index.html"


def write_page(folder: str | os.PathLike[str], html: str) -> Path:
    """Write a page as ``index.html`` into ``folder``, which is made, and return its path; one that is there is replaced whole.

    Raises `RequestError`, with nothing written, when `check_folder` does.

    >>> import tempfile
    >>> from e2i_fs.page.html import page
    >>> write_page(tempfile.mkdtemp(), page({})).name
    'index.html'
    """
    home = check_folder(folder)
    home.mkdir(parents=True, exist_ok=True)
    place = home / _PAGE
    part = home / f".{_PAGE}.{uuid.uuid4().hex}.tmp"
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    return place


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Return ``folder`` if a page may be written there: there is none yet, or it is empty, or has only such a page.

    Raises `RequestError` for anything else, so that nobody's files are overwritten.
    """
    home = Path(folder)
    if not os.path.lexists(home):
        return home
    if not home.is_dir():
        raise RequestError(f"{home} is a file. Name a folder: the page becomes {_PAGE} in it.")
    others = sorted(each.name for each in home.iterdir() if each.name != _PAGE and not _left(each.name))
    if others:
        raise RequestError(
            f"{home} has other things in it ({', '.join(others[:3])}{', …' if len(others) > 3 else ''}), so nothing was written. "
            "Name a folder that is empty or new, or that has only a page written before."
        )
    place = home / _PAGE
    if os.path.lexists(place) and not _is_page(place):
        raise RequestError(f"{place} is not a page that e2i-fs wrote, so it was left as it is. Name another folder.")
    return home


def _left(name: str) -> bool:
    """Return whether a file is what a write that was cut short has left."""
    return name.startswith(f".{_PAGE}.") and name.endswith(".tmp")


def _is_page(place: Path) -> bool:
    if place.is_symlink() or not place.is_file():
        return False
    with place.open("rb") as file:
        return MARK.encode() in file.read(200)
