"""``python -m feature_repo FOLDER [--scale 1] [--seed 7]``: write E2I data into a folder."""

from __future__ import annotations

import argparse
import sys

from .generate import generate


def main() -> None:
    """Read the arguments, write the data and say what was written."""
    parser = argparse.ArgumentParser(prog="python -m feature_repo", description="Write E2I data into a folder.")
    parser.add_argument("folder")
    parser.add_argument("--scale", type=float, default=1.0, help="size; 1 is 240 HCPs")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    for name, rows in generate(given.folder, scale=given.scale, seed=given.seed).rows.items():
        sys.stdout.write(f"{name:32} {rows:>12,} rows\n")


main()
