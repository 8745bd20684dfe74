"""Run every benchmark and print a Markdown table of medians and ratios: ``python -m benchmarks [--quick]``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import failover_read, online_kv, online_read, point_in_time, telemetry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, about a minute")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    given = parser.parse_args()
    everything = {}
    for module in (online_kv, online_read, failover_read, point_in_time, telemetry):
        title, rows = module.run(quick=given.quick)
        everything[title] = rows
        print(f"\n## {title}\n")
        print("| what | median ms | fastest ms | against the first |\n|---|---|---|---|")
        for name, median, fastest, ratio in rows:
            print(f"| {name} | {median:.4g} | {fastest:.4g} | {ratio:.2f} |")
    if given.json:
        given.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
