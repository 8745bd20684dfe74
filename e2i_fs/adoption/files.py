"""Writing a handful of files into a folder: all checked first, none overwritten unless told, each whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from e2i_fs.errors import RequestError

__all__ = ["write_files"]


def write_files(folder: Path, files: Mapping[str, bytes], *, force: bool, who: str) -> list[str]:
    """Write ``files``, by their path in ``folder``, and return the paths written, sorted.

    Raises `RequestError`, with nothing written, for a path that leads out of ``folder``, and for a file that is there
    already unless ``force``. ``who`` begins the messages. A file is put in its place whole.
    """
    places = {name: folder / name for name in sorted(files)}
    for name, place in places.items():
        if not place.resolve().is_relative_to(folder.resolve()):
            raise RequestError(f"{who}: {name!r} lies outside of {folder}; nothing was written.")
    there = [str(place) for place in places.values() if os.path.lexists(place)]
    if there and not force:
        raise RequestError(
            f"{who}: {', '.join(there)} {'is' if len(there) == 1 else 'are'} there already, and nothing was written. Move it, name "
            "another place with --out, or overwrite with --force."
        )
    odd = next((str(place) for place in places.values() if place.is_dir()), None)
    if odd is not None:
        raise RequestError(f"{who}: {odd} is a folder, and nothing was written. Name a file.")
    for name, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
        try:
            part.write_bytes(files[name])
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    return list(places)
