"""The support table of backends.md, from the certificates in docs/certificates.

    python docs/support_table.py                   write the table
    python docs/support_table.py --check           exit with 1 when the table or a certificate is out of date
    python docs/support_table.py --certify         certify every backend that we ship anew, then write the table
    python docs/support_table.py --certify duckdb  only these: memory, duckdb, feast+sqlite, feast+redis, feast+postgres+redis, feast+spark+redis

Certifying takes some minutes, and feast+redis needs Feast and a `redis-server`, feast+postgres+redis a PostgreSQL as well,
feast+spark+redis a Java runtime: its certificate is of the profile quick, for a query costs Spark some tenths of a second.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "backends.md"
FOLDER = DOCS / "certificates"
LABELS = ("memory", "duckdb", "feast+sqlite", "feast+redis", "feast+postgres+redis", "feast+spark+redis")
FIRST, LAST = "<!-- begin: support table -->", "<!-- end: support table -->"


def certificates() -> dict[str, dict[str, Any]]:
    """Return the committed certificates by label; a missing one is left out."""
    found = {}
    for label in LABELS:
        file = FOLDER / f"{stem(label)}.json"
        if file.exists():
            found[label] = json.loads(file.read_text(encoding="utf-8"))
    return found


def stem(label: str) -> str:
    """Return the name of a certificate's files."""
    return label.replace("+", "-")


def table() -> str:
    """Return the table: a column for each backend, a row for each group and capability."""
    made = certificates()
    columns = [f"[{label}](certificates/{stem(label)}.md)" for label in made]
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    rows.append(["**certificate**", *(f"**{c['level']}**" for c in made.values())])
    groups = {g["group"]: None for c in made.values() for g in c["groups"]}
    for group in groups:
        levels = ({g["group"]: g for g in c["groups"]}[group] for c in made.values())
        rows.append([group, *(f"{g['level']}, {g['passed']} tests" if g["passed"] else g["level"] for g in levels)])
    names = {row["name"]: None for c in made.values() for row in c["capabilities"]}
    for name in names:
        cells = ({r["name"]: r for r in c["capabilities"]}.get(name) for c in made.values())
        rows.append([f"`{name}`", *("" if r is None else _capability(r) for r in cells)])
    rows.append(["deviations", *(str(len(c["deviations"])) for c in made.values())])
    lines = ["| " + " | ".join(cells) + " |" if cells[0] != "---" else "|" + "---|" * len(cells) for cells in rows]
    suites = sorted({c["suite"] for c in made.values()})
    last = f"Suite {', '.join(f'`{s}`' for s in suites)}, {_profiles(made)}; ✓ proven by tests, ✗ not."
    return "\n".join([*lines, "", last]) if made else "No certificate yet."


def _capability(row: dict[str, Any]) -> str:
    return row["declared"] + {True: " ✓", False: " ✗", None: ""}[row["proven"]]


def _profiles(made: dict[str, dict[str, Any]]) -> str:
    found = sorted({f"profile {c['profile']}, seed {c['seed']}" for c in made.values()})
    return "; ".join(found)


def page() -> str:
    """Return backends.md with the table anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(FIRST)
    _, _, after = rest.partition(LAST)
    if not after:
        raise SystemExit(f"{PAGE} has no {FIRST} ... {LAST}")
    return f"{before}{FIRST}\n{table()}\n{LAST}{after}"


def problems() -> list[str]:
    """Return what is out of date, and how to make it anew."""
    from e2i_fs.testing.certificate import FORMAT, suite_version

    made, again = certificates(), "python docs/support_table.py --certify"
    found = [f"docs/certificates has none of {label}: {again} {label}" for label in LABELS if label not in made]
    for label, one in made.items():
        if one["suite"] != suite_version() or one["certificate"] != FORMAT:
            found.append(
                f"The certificate of {label} is of suite {one['suite']}, not {suite_version()}: {again} {label}"
            )
    if PAGE.read_text(encoding="utf-8") != page():
        found.append("The table in docs/backends.md is not of the certificates: python docs/support_table.py")
    return found


def certify(labels: list[str]) -> bool:
    """Certify ``labels``, write their files, and return whether each is certified."""
    sys.path.insert(0, str(DOCS.parent))
    from e2i_fs.clock import SystemClock
    from e2i_fs.testing.certificate import certify as certified
    from e2i_fs.testing.certificate_page import page as certificate_page
    from e2i_fs.testing.kit import PROFILES

    good = True
    FOLDER.mkdir(exist_ok=True)
    for label in labels:
        with ExitStack() as stack:
            make, backend, options = _examined(label, stack)
            profile = PROFILES["ci"]
            command = " ".join(["e2i-fs certify", backend, *(f"--option {o}" for o in options)])
            made = certified(
                make,
                backend=backend,
                clock=SystemClock(),
                label=label,
                profile=profile,
                options=[o.removesuffix("=HOST:PORT") for o in options],
                progress=_told,
                replay=lambda test, command=command, profile=profile: (
                    f"{command} --only {test} --seed 0 --profile {profile.name}"
                ),
            )
        (FOLDER / f"{stem(label)}.json").write_text(made.dumps(), encoding="utf-8")
        (FOLDER / f"{stem(label)}.md").write_text(certificate_page(made), encoding="utf-8")
        print(f"{label}: {made.level}")
        good = good and made.certified
    return good


def _told(test: str, result: Any) -> None:
    if result is not None:
        print(f"{result.outcome:>14}  {test}  {result.seconds:.1f} s {result.reason}", flush=True)
        if result.finding is not None:
            print(result.finding.text())


def _examined(label: str, stack: ExitStack) -> tuple[Any, str, list[str]]:
    """Return what makes the harness of ``label``, its backend, and its options as the command takes them."""
    if label == "memory":
        from e2i_fs.testing.harnesses import MemoryHarness

        return MemoryHarness, "memory", []
    if label == "duckdb":
        from e2i_fs_duckdb.conformance import DuckDBHarness

        return DuckDBHarness, "duckdb", []
    if label == "feast+sqlite":
        from e2i_fs_feast.conformance import FeastHarness

        return FeastHarness, "feast", []
    from tests.conformance.harnesses import FeastOnPostgres, FeastOnRedis, FeastOnSpark
    from tests.servers import running_postgres, running_redis

    server = stack.enter_context(running_redis())
    options = ["online_store.type=redis", "online_store.connection_string=HOST:PORT"]
    if label == "feast+redis":
        return lambda path: FeastOnRedis(path, server), "feast", options
    if label == "feast+spark+redis":
        return lambda path: FeastOnSpark(path, server), "feast", ["offline_store.type=spark", *options]
    postgres = stack.enter_context(running_postgres())
    options = ["offline_store.type=postgres", "offline_store.host=HOST:PORT", *options]
    return lambda path: FeastOnPostgres(path, server, postgres), "feast", options


def main(arguments: list[str]) -> int:
    """Do what the arguments say; return the exit code."""
    if arguments[:1] == ["--certify"]:
        wanted = arguments[1:] or list(LABELS)
        unknown = [label for label in wanted if label not in LABELS]
        if unknown:
            print(f"There is no {unknown[0]}; certify some of {', '.join(LABELS)}.")
            return 2
        good = certify(wanted)
        PAGE.write_text(page(), encoding="utf-8")
        return 0 if good else 1
    if arguments == ["--check"]:
        found = problems()
        print("\n".join(found))
        return 1 if found else 0
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
