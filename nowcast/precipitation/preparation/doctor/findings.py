"""What is wrong with an archive, in words that a table, a JSON file and a quarantine share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.archive.quarantine import Excluded

Severity = Literal["broken", "warning"]

# Broken: something cannot be used as it is, or would make scores wrong. Warning: usable, but look.
KINDS: dict[str, Severity] = {
    "bad description": "broken",  # archive.json, or what stands in for it
    "bad day list": "broken",  # a list missing beside others, a malformed line, a day twice
    "day in two splits": "broken",
    "copied across splits": "broken",  # the same rainy frame in the days of two splits
    "bad exclude mask": "broken",
    "no frames": "broken",
    "unreadable frame": "broken",
    "frame of another size": "broken",
    "frame not 8-bit grey": "broken",
    "missing mask": "broken",  # where the archive has a mask folder
    "bad mask": "broken",
    "wrong folder": "broken",  # a name says another time than its folder; no calendar has the day
    "moment twice": "broken",
    "off-grid time": "broken",
    "frozen frames": "warning",
    "dry day": "warning",
    "listed day without frames": "warning",
    "day with gaps": "warning",
    "neighbours in two splits": "warning",
    "mask without frame": "warning",
    "stray file": "warning",
    "no masks": "warning",
    "no exclude mask": "warning",
    "no day lists": "warning",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Args:
        kind: one of `KINDS`.
        where: a path relative to the archive, a time (UTC) or a day.
        detail: what was expected and what was found.
        excluded: times that training must skip for it.
    """

    kind: str
    where: str
    detail: str
    excluded: Moments | None = None

    @property
    def severity(self) -> Severity:
        """``broken`` or ``warning``."""
        return KINDS[self.kind]


@dataclass(frozen=True)
class Report:
    """All that a check of an archive found.

    Args:
        root: the archive.
        days: day folders with frames.
        frames: frame files read.
        findings: in the order of `KINDS`, then as they lie in the archive.
    """

    root: Path
    days: int
    frames: int
    findings: list[Finding]

    def count(self, severity: Severity) -> int:
        """Findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def is_broken(self) -> bool:
        """True if anything is broken."""
        return self.count("broken") > 0

    def rows(self) -> list[list[str]]:
        """Kind, severity, how many, and the first of them, for a table."""
        by_kind: dict[str, list[Finding]] = {}
        for finding in self.findings:
            by_kind.setdefault(finding.kind, []).append(finding)
        return [
            [kind, KINDS[kind], str(len(found)), f"{found[0].where}: {found[0].detail}"]
            for kind, found in by_kind.items()
        ]

    def summary(self) -> str:
        """One line: what was looked at, and how many findings there are."""
        return (
            f"{self.root}: {self.frames} frames of {self.days} days checked; "
            f"{self.count('broken')} broken, {self.count('warning')} warnings"
        )

    def content(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {
            "root": printable(str(self.root)),
            "days": self.days,
            "frames": self.frames,
            "broken": self.count("broken"),
            "warnings": self.count("warning"),
            "findings": [
                {
                    "kind": finding.kind,
                    "severity": finding.severity,
                    "where": finding.where,
                    "detail": finding.detail,
                }
                for finding in self.findings
            ],
        }

    def excluded(self) -> Iterator[Excluded]:
        """The lines of a quarantine file: times of broken findings; warnings exclude none."""
        for finding in self.findings:
            if finding.excluded is not None:
                for moment in finding.excluded:
                    yield Excluded(moment, finding.kind, finding.detail)


def printable(text: str) -> str:
    """Text with escapes for what no terminal shows and no UTF-8 file holds: file names may."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def relative(path: Path, root: Path) -> str:
    """A path as a finding names it: from the archive's root where it lies there."""
    return printable(str(path.relative_to(root) if path.is_relative_to(root) else path))
