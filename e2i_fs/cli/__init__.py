"""The ``e2i-fs`` command."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command with the process's own arguments and exit with its code (see `e2i_fs.cli.exits`)."""
    import sys

    from e2i_fs.cli.app import run

    sys.exit(run(sys.argv[1:]))
