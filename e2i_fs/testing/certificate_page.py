"""A certificate as a page for people, in Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from e2i_fs.testing.certificate import OFFERS, Certificate

__all__ = ["page"]

_MEANS = {
    "full": "every group passed",
    "partial": "nothing from the future, to the microsecond; not every other group passed or is declared",
    "failed": "not certified",
}


def page(certificate: Certificate) -> str:
    """Return the page: the level, groups, capabilities, deviations, rules, and what was found."""
    examined = certificate.examined
    bad = [r for r in certificate.results if not r.good]
    parts = [
        f"# Certificate of {examined.label}\n",
        f"**{certificate.level}**: {_MEANS[certificate.level]}.\n",
        _table(
            ("", ""),
            [
                ("backend", f"`{examined.backend}`"),
                ("suite", f"`{certificate.suite}`"),
                ("profile, seed", f"`{certificate.profile}`, {certificate.seed}"),
                ("date", certificate.date.isoformat(sep=" ", timespec="seconds")),
                ("versions", ", ".join(f"{name} {version}" for name, version in certificate.versions.items())),
                ("options given", ", ".join(f"`{o}`" for o in examined.options) or "none"),
                ("the harness offers", ", ".join(f"`{o}`" for o in OFFERS if o in examined.offered) or "only `open`"),
            ],
        ),
        "## Groups\n",
        _table(
            ("group", "level", "passed", "deviating", "failed", "not applicable"),
            [
                (g.group, f"**{g.level}**", g.passed, g.deviating, g.failed, g.not_applicable)
                for g in certificate.groups
            ],
        ),
        "## Capabilities\n",
        _table(
            ("capability", "declared", "proven", "how"),
            [
                (f"`{c.name}`", c.declared, {True: "yes", False: "**no**", None: "—"}[c.proven], _tests(c.how))
                for c in certificate.capabilities
            ],
        ),
        "## Deviations\n",
        _table(
            ("test", "kind and reason"),
            [(_name(r.test), r.reason) for r in certificate.results if r.outcome == "deviates"],
        )
        or "None.\n",
        "## Rules\n",
        _table(
            ("rule", "outcome", "tests"),
            [
                (r.rule, f"**{r.outcome}**", "<br>".join(f"{_name(test)}: {o}" for test, o in r.tests.items()))
                for r in certificate.rules
            ],
        ),
        "## Not applicable\n",
        _table(
            ("test", "why"),
            [(_name(r.test), r.reason) for r in certificate.results if r.outcome in ("not applicable", "not run")],
        )
        or "None.\n",
        "## Findings\n",
        *(f"```text\n{r.finding.text()}\n```\n" for r in bad if r.finding is not None),
    ]
    if not bad:
        parts.append("None.\n")
    return "\n".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = ["| " + " | ".join(_cell(c) for c in row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body, ""]) if body else ""


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", "<br>")


def _name(test: str) -> str:
    return test.removeprefix("test_").replace("_", " ")


def _tests(how: str) -> str:
    """Return the first tests of a long list by name, and how many more there are."""
    if "test_" not in how:
        return how
    named = [_name(t) if t.startswith("test_") else t.replace("test_", "").replace("_", " ") for t in how.split(", ")]
    more = f", and {len(named) - 3} more" if len(named) > 3 else ""
    return textwrap.shorten("; ".join(named[:3]), 400) + more
