"""The table of a comparison: one row a forecaster, mean and standard deviation over its seeds."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, Literal

from nowcast.core.scoring.sums import Scores

DASH = "–"
STAR = " *"
BEST = "the best mean of its column, whether or not the difference is significant"
ARROWS = {"less": "↓", "more": "↑", "one": "→ 1", "level": "→"}
# A star or an underscore between two spaces, and an underscore within a word, mean nothing.
_MARKDOWN = re.compile(r"[\\`\[\]<>|$]|(?<=\S)\*|\*(?=\S)|(?<!\w)_(?=\S)|(?<=\S)_(?!\w)")


@dataclass(frozen=True)
class Column:
    """One score of the table.

    Args:
        score: its name in `Scores.values`.
        header: as shown, e.g. ``top-1``.
        best: whether less or more is better, or the nearer to one, or to another level, which is
            `perfect`.
        digits: decimals shown.
        main: whether it enters a table of several comparisons.
        perfect: score of a perfect forecast, in the unit of the column, e.g. 0 for an error, 1 for
            a ratio and 100 for a percentage; None where there is none, and then there is no skill.
        limits: least and greatest value that the score can have; None: no limit.
        tested: of a detail of a leaderboard: whether forecasters are told apart by it, too.
    """

    score: str
    header: str
    best: Literal["less", "more", "one", "level"]
    digits: int
    main: bool = True
    perfect: float | None = field(kw_only=True)
    limits: tuple[float | None, float | None] = field(default=(None, None), kw_only=True)
    tested: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        assert self.best != "one" or self.perfect in (1, None), (self.score, self.perfect)
        assert self.best != "level" or self.perfect is not None, self.score

    @property
    def title(self) -> str:
        """Header with the direction of better."""
        level = f" {self.perfect:g}" if self.best == "level" else ""
        return f"{self.header} {ARROWS[self.best]}{level}"

    def cost(self, value: float) -> float:
        """Less is better."""
        level = 1.0 if self.perfect is None else self.perfect
        near = abs(value - level)
        return {"less": value, "more": -value, "one": near, "level": near}[self.best]

    def skill(self, value: float | None, reference: float | None) -> float | None:
        """Skill score ``1 - |value - perfect| / |reference - perfect|``: 0 at the reference, 1 for
        a perfect forecast, below 0 for what is further from perfect than the reference.

        Murphy 1988, doi:10.1175/1520-0493(1988)116<2417:SSBOTM>2.0.CO;2, with absolute distances,
        so that a bias of 0.9 and one of 1.1 have the same skill and none passes 1.

        Args:
            value: the score of a forecaster.
            reference: the score of the forecaster that it is set against.

        Returns:
            the skill; None where there is no perfect score, a score is undefined or not finite, or
            the reference is perfect.
        """
        if self.perfect is None or value is None or reference is None:
            return None
        distance, start = abs(value - self.perfect), abs(reference - self.perfect)
        if not (math.isfinite(distance) and math.isfinite(start)) or start == 0:
            return None
        return 1 - distance / start


@dataclass(frozen=True)
class Row:
    """The scores of one forecaster.

    Args:
        name: the variant or baseline.
        scores: seed -> its scores; a baseline has the one entry None.
    """

    name: str
    scores: Mapping[int | None, Scores]

    def samples(self, score: str) -> list[float]:
        """The defined values of a score, one a seed."""
        values = (scores.values.get(score) for scores in self.scores.values())
        return [value for value in values if value is not None]

    def mean(self, score: str) -> float | None:
        """Mean over seeds; None where the score is undefined."""
        samples = self.samples(score)
        return fmean(samples) if samples else None

    def deviation(self, score: str) -> float | None:
        """Sample standard deviation over seeds; None below two seeds."""
        samples = self.samples(score)
        return stdev(samples) if len(samples) > 1 else None


@dataclass(frozen=True)
class Table:
    """Rows and columns of a comparison."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def cells(self) -> list[list[str]]:
        """Texts ``mean ± standard deviation``; of several rows, the best mean of each column is
        marked with ``*``."""
        best = {column.score: self._best(column) for column in self.columns}
        return [
            [row.name, *(self._cell(row, column, best[column.score]) for column in self.columns)]
            for row in self.rows
        ]

    def header(self) -> list[str]:
        """Texts above the cells."""
        return ["", *(column.title for column in self.columns)]

    @property
    def legend(self) -> str:
        """What the marks in this table mean, in a sentence or two."""
        cells = [cell for row in self.cells() for cell in row[1:]]
        meanings = {
            "↓": "less is better",
            "↑": "more is better",
            "→ 1": "the nearer to one the better",
            "→": "the nearer to the number after it the better",
        }
        parts = [
            f"{arrow} {meaning}"
            for arrow, meaning in meanings.items()
            if any(arrow == ARROWS[column.best] for column in self.columns)
        ]
        if any(cell.endswith(STAR) for cell in cells):
            parts.append(f"{STAR.strip()} or bold: {BEST}")
        if any("±" in cell for cell in cells):
            parts.append("± sample standard deviation over seeds")
        if DASH in cells:
            parts.append(f"{DASH} undefined")
        return "; ".join(parts)

    def markdown(self) -> str:
        """As a Markdown table."""
        return markdown_table(self.header(), self.cells(), ["---", *("---:" for _ in self.columns)])

    def csv(self) -> str:
        """One line per forecaster and seed, full precision; undefined scores are empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["forecaster", "seed", *(column.score for column in self.columns)])
        for row in self.rows:
            for seed, scores in row.scores.items():
                values = (scores.values.get(column.score) for column in self.columns)
                writer.writerow([row.name, seed, *values])
        return text.getvalue()

    def _best(self, column: Column) -> float | None:
        means = [mean for row in self.rows if (mean := row.mean(column.score)) is not None]
        if not means or len(self.rows) == 1:
            return None
        return min(means, key=column.cost)

    def _cell(self, row: Row, column: Column, best: float | None) -> str:
        mean, deviation = row.mean(column.score), row.deviation(column.score)
        if mean is None:
            return DASH
        spread = "" if deviation is None else f" ± {deviation:.{column.digits}f}"
        return f"{mean:.{column.digits}f}{spread}{STAR if mean == best else ''}"


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], rule: Sequence[str] | None = None
) -> str:
    """Cells as a Markdown table, which shows them as they are; a line break is ``<br>``."""
    shown = ([*map(in_markdown, cells)] for cells in (header, *rows))
    first, *others = (f"| {' | '.join(cells)} |\n" for cells in shown)
    return "".join([first, f"| {' | '.join(rule or ['---'] * len(header))} |\n", *others])


def in_markdown(text: str) -> str:
    """A text that Markdown, with tables and mathematics, shows as it is."""
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", text).replace("\n", "<br>")


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as CSV under a header of them; empty if there is none."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
