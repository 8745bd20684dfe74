"""What is attested of a backend: levels by group, outcomes by rule, capabilities, deviations, and how to see it again."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from e2i_fs.backend import Capabilities
from e2i_fs.clock import Clock
from e2i_fs.testing.conformance.base import BackendConformance, test_names
from e2i_fs.testing.conformance.rules import GROUPS, rules_of
from e2i_fs.testing.harness import Harness
from e2i_fs.testing.kit import PROFILES, Profile
from e2i_fs.testing.proofs import CapabilityProof, proofs
from e2i_fs.testing.runner import Result, examine, surveyed

__all__ = [
    "FORMAT",
    "Certificate",
    "Examined",
    "GroupLevel",
    "RuleOutcome",
    "certificate",
    "certify",
    "result_document",
    "suite_version",
]

FORMAT = 1
OFFERS = ("raw_write", "raw_read", "break_")
_RULE_ORDER = "TPOWRFXG"
_IMPORTED = ("duckdb", "pyarrow", "hypothesis", "feast", "redis")

Level = Literal["passed", "passed with deviations", "not declared", "failed", "inconclusive"]
Overall = Literal["full", "partial", "failed"]


def suite_version() -> str:
    """Return 12 hex digits that change with e2i-fs, with a test's name and with the rules that it proves."""
    tests = sorted((name, rules_of(getattr(BackendConformance, name))) for name in test_names())
    return hashlib.sha256(repr((version("e2i-fs"), tests)).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class GroupLevel:
    """How far a group of tests was passed, and how many tests came out how."""

    group: str
    level: Level
    passed: int
    deviating: int
    failed: int
    not_applicable: int


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """One rule: *passed*, *deviates*, *failed* or *not examined*, and the outcome of each of its tests."""

    rule: str
    outcome: str
    tests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Examined:
    """What was examined: ``backend`` and ``label`` by name, what it declares, and what its harness offers.

    ``declared`` is None when the backend could not be asked. ``distribution`` is the plugin's, with its version.
    """

    backend: str
    label: str
    declared: Capabilities | None
    offered: tuple[str, ...]
    distribution: tuple[str, str] | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """The whole of it. `to_json` is its document; the page for people is `e2i_fs.testing.certificate_page`."""

    examined: Examined
    level: Overall
    suite: str
    profile: str
    seed: int
    date: datetime
    versions: Mapping[str, str]
    groups: tuple[GroupLevel, ...]
    rules: tuple[RuleOutcome, ...]
    capabilities: tuple[CapabilityProof, ...]
    results: tuple[Result, ...]

    @property
    def certified(self) -> bool:
        """True for *full* and *partial*."""
        return self.level != "failed"

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as JSON has it; docs/certificates.md says what each key is."""
        return {
            "certificate": FORMAT,
            "backend": self.examined.backend,
            "label": self.examined.label,
            "options": list(self.examined.options),
            "level": self.level,
            "suite": self.suite,
            "profile": self.profile,
            "seed": self.seed,
            "date": self.date.isoformat(timespec="seconds"),
            "versions": dict(self.versions),
            "harness": {name: name in self.examined.offered for name in OFFERS},
            "groups": [asdict(group) for group in self.groups],
            "capabilities": [asdict(row) for row in self.capabilities],
            "deviations": [
                {"test": r.test, "kind": r.reason.partition(": ")[0], "reason": r.reason.partition(": ")[2]}
                for r in self.results
                if r.outcome == "deviates"
            ],
            "rules": [{"rule": r.rule, "outcome": r.outcome, "tests": dict(r.tests)} for r in self.rules],
            "tests": [result_document(result) for result in self.results],
        }

    def dumps(self) -> str:
        """Return the JSON text, ending in a line break."""
        return json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"


def result_document(result: Result) -> dict[str, Any]:
    """Return one result as the certificate has it."""
    about: dict[str, Any] = {
        "test": result.test, "group": result.group, "rules": list(result.rules), "outcome": result.outcome,
        "reason": result.reason, "examples": result.tried, "seconds": round(result.seconds, 2),
    }  # fmt: skip
    found = result.finding
    if found is not None:
        about["finding"] = {
            "rule": found.rule, "says": found.says, "example": found.example, "expected": found.expected,
            "got": found.got, "replay": found.replay,
        }  # fmt: skip
    return about


def certificate(
    examined: Examined, results: Sequence[Result], *, profile: str, seed: int, now: datetime
) -> Certificate:
    """Return the certificate of what `e2i_fs.testing.runner.examine` found of all tests."""
    groups = tuple(_group(name, [r for r in results if r.group == name], examined.declared) for name in GROUPS)
    return Certificate(
        examined=examined,
        level=_overall(groups),
        suite=suite_version(),
        profile=profile,
        seed=seed,
        date=now,
        versions=_versions(examined.distribution),
        groups=groups,
        rules=tuple(_rules(results)),
        capabilities=tuple(proofs(examined.declared, results)),
        results=tuple(results),
    )


def certify(
    make: Callable[[Path], Harness], *, backend: str, clock: Clock, profile: Profile = PROFILES["ci"], seed: int = 0,
    label: str = "", distribution: tuple[str, str] | None = None, options: Sequence[str] = (),
    progress: Callable[[str, Result | None], None] | None = None, replay: Callable[[str], str] | None = None,
) -> Certificate:  # fmt: skip
    """Examine what ``make`` opens and return the certificate; see `e2i_fs.testing.runner` for what is raised."""
    own, declared, offered = surveyed(make)
    results = examine(make, profile=profile, seed=seed, progress=progress, replay=replay)
    examined = Examined(backend, label or own or backend, declared, offered, distribution, tuple(options))
    return certificate(examined, results, profile=profile.name, seed=seed, now=clock.now())


def _group(name: str, results: Sequence[Result], declared: Capabilities | None) -> GroupLevel:
    def count(*outcomes: str) -> int:
        return sum(r.outcome in outcomes for r in results)

    bad = count("failed", "unexpectedly passed")
    passed, deviating, left = count("passed"), count("deviates"), count("not applicable", "not run")
    level: Level
    if bad:
        level = "failed"
    elif name == "online" and declared is not None and not declared.online:
        level = "not declared"  # what is left of the group is that it refuses
    elif deviating:
        level = "passed with deviations"
    elif passed and not count("not run"):
        level = "passed"
    else:
        level = "not declared" if left and all("does not declare" in r.reason for r in results) else "inconclusive"
    return GroupLevel(name, level, passed, deviating, bad, left)


def _overall(groups: Sequence[GroupLevel]) -> Overall:
    levels = {group.group: group.level for group in groups}
    if "failed" in levels.values() or levels["temporal"] != "passed":
        return "failed"
    return "full" if set(levels.values()) == {"passed"} else "partial"


def _rules(results: Sequence[Result]) -> list[RuleOutcome]:
    tests: dict[str, dict[str, str]] = {}
    for result in results:
        for rule in result.rules:
            tests.setdefault(rule, {})[result.test] = result.outcome
    found = []
    for rule in sorted(tests, key=lambda r: (_RULE_ORDER.find(r[0]), int(r.partition("-")[2]))):
        outcomes = set(tests[rule].values())
        if outcomes & {"failed", "unexpectedly passed"}:
            outcome = "failed"
        elif "deviates" in outcomes:
            outcome = "deviates"
        else:
            outcome = "passed" if "passed" in outcomes else "not examined"
        found.append(RuleOutcome(rule, outcome, tests[rule]))
    return found


def _versions(distribution: tuple[str, str] | None) -> dict[str, str]:
    found = {"e2i-fs": version("e2i-fs")}
    if distribution is not None:
        found.setdefault(*distribution)
    for name in _IMPORTED:
        if name in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "unknown"
    return found | {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
