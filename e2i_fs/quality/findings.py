"""What is to be said of an examined frame: what must stop it, what is only worth knowing, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from e2i_fs.errors import did_you_mean
from e2i_fs.quality.asked import Asked
from e2i_fs.quality.examining import Examined
from e2i_fs.quality.outcome import Outcome
from e2i_fs.quality.plain import several
from e2i_fs.quality.profile import ColumnProfile

__all__ = ["Findings", "findings_of"]

MOSTLY_MISSING = 0.5


@dataclass(slots=True)
class Findings:
    """Sentences, in the order found. ``remedies`` has what to do, each once."""

    blocking: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)

    def block(self, said: str, remedy: str) -> None:
        """Add something that must stop the data."""
        self.blocking.append(said)
        self._do(remedy)

    def warn(self, said: str, remedy: str) -> None:
        """Add something worth knowing."""
        self.warnings.append(said)
        self._do(remedy)

    def _do(self, remedy: str) -> None:
        if remedy not in self.remedies:
            self.remedies.append(remedy)


def findings_of(asked: Asked, seen: Examined) -> Findings:
    """Return what is to be said of a frame."""
    found = Findings()
    _blocking(found, asked, seen)
    for result in seen.results:
        e = result.expectation
        if result.outcome.failed and not result.blocking:
            found._do(f"Mend what breaks {e!r}, or expect something else.")
        elif result.outcome is Outcome.WARNING:
            found.warn(result.message, f"Look at what breaks {e!r}.")
    for profile in seen.profiles:
        _column(found, asked, seen, profile)
    _zones(found, seen)
    for said in asked.unwanted:
        found.warn(f"{said[0].upper()}{said[1:]}", "Drop the columns that the view does not have, or add them to it.")
    if not asked.keys and seen.identity is not None and seen.identity.repeated:
        many, first = seen.identity.repeated, ", ".join(map(str, seen.identity.examples))
        found.warn(
            f"{several(many, 'row')} {_verb(many, 'repeat')} an earlier row in every column, first at {first}.",
            "Drop the repeated rows, or name the key of a row with keys=.",
        )
    return found


def _blocking(found: Findings, asked: Asked, seen: Examined) -> None:
    names = [p.name for p in seen.profiles]
    if not seen.rows:
        found.block("The frame has no rows; nothing was judged.", "Find out why nothing arrived.")
    for name in asked.there:
        if name not in names:
            said = f"The required column {name!r} is not there.{did_you_mean(name, names)}"
            found.block(said, f"Add the column {name!r}, or rename the one that holds it.")
    for result in seen.results:
        e = result.expectation
        if e.kind == "not_null" and result.blocking and result.offending:
            rows = ", ".join(map(str, result.examples))
            found.block(
                f"The required column {e.columns[0]!r} is missing in {result.offending:,} of "
                f"{several(seen.rows, 'row')}, first at {rows}.",
                f"Fill {e.columns[0]!r} at its source, or drop the rows that lack it.",
            )
        if e.kind == "in_time" and result.blocking and not result.observed and e.columns[0] in names:
            found.block(result.message, f"Parse {e.columns[0]!r}, e.g. with pandas.to_datetime(..., utc=True).")
    if seen.future:
        rows = ", ".join(map(str, seen.future_examples))
        found.block(
            f"{several(seen.future, 'row')} of {asked.timestamp_column!r} {_verb(seen.future, 'lie')} in the future, first at {rows}.",
            "Mend the clock or the time zone of the producer; a store refuses rows of the future (O-4).",
        )


def _column(found: Findings, asked: Asked, seen: Examined, profile: ColumnProfile) -> None:
    name, texts = profile.name, seen.texts.get(profile.name)
    if seen.rows and not profile.present:
        found.warn(f"Column {name!r} is missing in every row.", f"Drop {name!r}, or find out why its source is silent.")
    elif profile.missing > MOSTLY_MISSING * seen.rows:
        share = profile.missing / seen.rows
        found.warn(
            f"Column {name!r} is missing in {share:.0%} of the rows.", f"Find out why {name!r} is mostly missing."
        )
    if profile.nan:
        found.warn(
            f"Column {name!r} has {profile.nan:,} NaN. They count as missing here, and a store would serve them as values (P-8).",
            f"Make NaN in {name!r} missing, or mend the division that made it.",
        )
    if profile.infinite:
        found.warn(
            f"Column {name!r} has {several(profile.infinite, 'infinite value')}, which are not valid.",
            f"Make infinities in {name!r} missing, or mend the division that made them.",
        )
    if profile.constant and profile.present > 1 and name not in (*asked.keys, asked.timestamp_column):
        if name in asked.labels:
            found.warn(
                f"The label {name!r} has one class only, {profile.min!r}; nothing can be learnt from it.",
                f"Take a longer time or more entities, until {name!r} has two classes.",
            )
        else:
            found.warn(
                f"Column {name!r} has one value only, {profile.min}.", f"Drop {name!r}, or see why it is constant."
            )
    if texts is None:
        return
    words = texts.words(profile.present, is_text=name in asked.texts)
    if profile.present and profile.numeric_text == profile.present and name not in asked.texts:
        found.warn(f"Column {name!r} holds numbers as text.", f"Cast {name!r} to numbers, or declare it a String.")
    if words:
        found.warn(
            f"Column {name!r} holds numbers as text, and {several(words, 'text')} among them that {'is' if words == 1 else 'are'} not.",
            f"Cast {name!r} to numbers, with words for missing made missing.",
        )
    if texts.spellings:
        one, other = texts.spellings
        found.warn(
            f"Column {name!r} has {several(texts.otherwise, 'text')} that {_verb(texts.otherwise, 'differ')} by case alone from a more frequent one, "
            f"such as {other!r} and {one!r}.",
            f"Spell the values of {name!r} in one way.",
        )
    if profile.padded or profile.blank:
        found.warn(
            f"Column {name!r} has {several(profile.padded or 0, 'text')} with space at an end and {profile.blank or 0:,} blank.",
            f"Strip the texts of {name!r}, and make blank ones missing.",
        )


def _verb(count: int, many: str) -> str:
    return f"{many}s" if count == 1 else many


def _zones(found: Findings, seen: Examined) -> None:
    times = [p for p in seen.profiles if p.kind == "time"]
    naive = [p.name for p in times if "tz=" not in p.type]
    if naive and len(naive) < len(times):
        aware = next(p.name for p in times if "tz=" in p.type)
        found.warn(
            f"Column {naive[0]!r} has no time zone and {aware!r} has one; times without are read as UTC (T-1).",
            "Give every time column a zone.",
        )
