"""``e2i-fs certify``: a backend examined by the conformance kit, and the certificate written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text

from e2i_fs.cli.answer import Answer
from e2i_fs.cli.command import command
from e2i_fs.cli.examined import Replay, harness_maker, merged, options_of_file, parse_options, told_keys
from e2i_fs.cli.exits import NO, OK
from e2i_fs.cli.needed import require
from e2i_fs.cli.session import Session
from e2i_fs.cli.tables import table
from e2i_fs.clock import SystemClock
from e2i_fs.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from e2i_fs.testing.certificate import Certificate
    from e2i_fs.testing.harness import Harness
    from e2i_fs.testing.runner import Result

__all__ = ["add_to"]

_STYLES = {"passed": "green", "deviates": "yellow", "not applicable": "dim"}
_MOST_FINDINGS = 10


class ProfileName(StrEnum):
    """How thoroughly to test."""

    QUICK = "quick"
    CI = "ci"
    THOROUGH = "thorough"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "certify", example="e2i-fs certify feast --option online_store.type=sqlite", panel="Operations")(
        certify
    )


def certify(
    session: Session,
    name: Annotated[str, typer.Argument(help="The backend, as its plugin names it.")],
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", help="KEY=VALUE, with dots for nested keys: online_store.type=redis.", show_default=False
        ),
    ] = None,
    harness: Annotated[
        str | None,
        typer.Option(
            "--harness", help="module:Class of a Harness; the backend's own unless given.", show_default=False
        ),
    ] = None,
    profile: Annotated[ProfileName, typer.Option(help="How thoroughly to test.")] = ProfileName.CI,
    seed: Annotated[int, typer.Option(help="The first seed; the same seed gives the same tests.")] = 0,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Only this test; repeat for more. Writes no certificate.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for the certificate.")] = Path("certificates"),
    label: Annotated[str, typer.Option(help="The name in the certificate; the harness's own unless given.")] = "",
) -> Answer:
    """Examine a backend against the contract and write its certificate, as JSON and as a page.

    Each test opens the backend in a new folder of its own. With --config, the options are those of NAME in that file
    except its path and project, so that the tests never touch your data. Exits with 1 when the backend is not
    certified.
    """
    require("certify", "testing", ["hypothesis", "pytest"])
    from e2i_fs.testing.findings import HarnessError

    from_file = options_of_file(session.config, name) if session.config else {}
    options = merged(from_file, parse_options(option or []))
    make, distribution = harness_maker(name, harness, options)
    replay = Replay(session.config, option or [], harness, name, seed, profile.value)
    _keep_out_of_the_way()
    try:
        if only:
            return _some(session, make, profile.value, seed, only, replay)
        return _all(
            session, make, profile.value, seed, replay, out, name, label, distribution, sorted(told_keys(options))
        )
    except HarnessError as error:
        raise RequestError(f"The harness of {name!r} cannot be used. {error}") from error


def _some(
    session: Session, make: Callable[[Path], Harness], profile: str, seed: int, only: list[str], replay: Replay
) -> Answer:
    from e2i_fs.testing.certificate import result_document
    from e2i_fs.testing.conformance.base import test_names
    from e2i_fs.testing.kit import PROFILES
    from e2i_fs.testing.runner import examine, surveyed

    for test in only:
        if test not in test_names():
            raise RequestError(f"--only {test}: the kit has no such test.{did_you_mean(test, test_names())}")
    surveyed(make)
    results = examine(make, profile=PROFILES[profile], seed=seed, only=only, progress=_progress(session), replay=replay)
    good = all(r.good for r in results)
    _tell(session, results)
    return Answer({"tests": [result_document(r) for r in results]}, code=OK if good else NO)


def _all(
    session: Session, make: Callable[[Path], Harness], profile: str, seed: int, replay: Replay, out: Path, name: str,
    label: str, distribution: tuple[str, str] | None, options: list[str],
) -> Answer:  # fmt: skip
    from e2i_fs.testing.certificate import certify as certified
    from e2i_fs.testing.certificate_page import page
    from e2i_fs.testing.kit import PROFILES

    if out.is_file():
        raise RequestError(f"--out {out} is a file; name a folder.")
    made = certified(
        make, backend=name, clock=SystemClock(), profile=PROFILES[profile], seed=seed, label=label,
        distribution=distribution, options=options, progress=_progress(session), replay=replay,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^A-Za-z0-9.]+", "-", made.examined.label)
    files = [out / f"{stem}.json", out / f"{stem}.md"]
    files[0].write_text(replay.masked(made.dumps()), encoding="utf-8")
    files[1].write_text(replay.masked(page(made)), encoding="utf-8")
    _tell(session, made.results)
    shown = [_summary(made), f"Written: {files[0]}, {files[1]}"]
    return Answer(made.to_json() | {"files": [str(f) for f in files]}, shown, OK if made.certified else NO)


def _summary(made: Certificate) -> Any:
    columns = ["group", "level", "passed", "deviating", "failed", "not applicable"]
    rows = [(g.group, _level(g.level), g.passed, g.deviating, g.failed, g.not_applicable) for g in made.groups]
    title = f"{made.examined.label}: {'certified, ' + made.level if made.certified else 'not certified'}"
    return table(title, columns, rows, right=[2, 3, 4, 5])


def _level(level: str) -> Text:
    return Text(level, style={"passed": "green", "failed": "bold red"}.get(level, "yellow"))


def _tell(session: Session, results: Sequence[Result]) -> None:
    """Print the findings in full, of several that say the same the first; lines are not broken, for they are copied."""
    if session.json:
        return
    bad = [r.finding for r in results if not r.good and r.finding is not None]
    first = {(f.rule, f.says): f for f in reversed(bad)}
    shown = list(reversed(first.values()))[:_MOST_FINDINGS]
    for finding in shown:
        session.console.print(Text(f"\n{finding.text()}"), soft_wrap=True)
    if len(bad) > len(shown):
        session.console.print(f"\n{len(bad) - len(shown)} more tests fail; the certificate tells of all.")


def _progress(session: Session) -> Callable[[str, Result | None], None]:
    console = session.stderr

    def told(test: str, result: Result | None) -> None:
        if result is None:
            return
        style = _STYLES.get(result.outcome, "bold red")
        tried = f", {result.tried} examples" if result.tried else ""
        reason = f": {escape(result.reason)}" if result.reason else ""
        console.print(f"[{style}]{result.outcome:>14}[/]  {test}  [dim]{result.seconds:.1f} s{tried}[/]{reason}")

    return told


def _keep_out_of_the_way() -> None:
    """Let Hypothesis keep its files with the temporary ones, not in the working directory."""
    import tempfile

    from hypothesis.configuration import set_hypothesis_home_dir

    set_hypothesis_home_dir(Path(tempfile.gettempdir(), "e2i_fs_hypothesis"))
