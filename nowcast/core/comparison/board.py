"""A leaderboard: forecasters on exactly the same samples, and which of them can be told apart."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nowcast.core.comparison.bootstrap import LEAST_BLOCKS, Difference, differences
from nowcast.core.comparison.verdict import LEVEL, NOT_DISTINGUISHABLE, RULE, p_text
from nowcast.core.distributed import Ranks, wait
from nowcast.core.errors import ConfigError
from nowcast.core.evaluate import evaluate_blocks
from nowcast.core.files import write_json, write_text
from nowcast.core.machine import when_and_where
from nowcast.core.page.report import Report, Section, write_report
from nowcast.core.pooling import block_mean, pooled
from nowcast.core.progress import line
from nowcast.core.sums import Scores, Sums
from nowcast.core.table import DASH, Column, Row, Table, csv_text
from nowcast.core.task import Task

RANKS = ("Score", "Best", "Not distinguishable from it")
SKILL = (
    "Skill score: 0 at the reference, 1 for a perfect forecast, below 0 for one that is further "
    "from perfect than the reference. It is 1 - |score - perfect| / |reference - perfect|; perfect "
    "is 0 for errors, 1 for CSI and ratios, 100 for percentages."
)


@dataclass(frozen=True)
class Board:
    """What was measured of some forecasters, the task's reference among them.

    Args:
        task: reads the sums and says what columns there are.
        parts: forecaster -> block -> its sums; the same blocks for all.
        facts: what was scored, when and where.
    """

    task: Task
    parts: Mapping[str, Mapping[str, Sums]]
    facts: Mapping[str, Any]

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Of each forecaster, from the sums over all samples."""
        return {
            name: self.task.read(pooled(list(blocks.values()))).resting_on(blocks=len(blocks))
            for name, blocks in self.parts.items()
        }

    @cached_property
    def by_block(self) -> dict[str, dict[str, Scores]]:
        """Of each forecaster, in each block."""
        return {
            name: {block: self.task.read(sums) for block, sums in blocks.items()}
            for name, blocks in self.parts.items()
        }

    def block_mean(self, name: str) -> Scores:
        """Scores in a block on average, where `scores` are those over all samples together."""
        return block_mean(list(self.parts[name].values()), self.task.read)

    @cached_property
    def differences(self) -> list[Difference]:
        """Of every pair, with its interval."""
        parts = {name: [blocks] for name, blocks in self.parts.items()}
        return differences(parts, self.task.read_columns, self.task.columns)

    @property
    def table(self) -> Table:
        """One row a forecaster."""
        rows = (Row(name, {None: scores}) for name, scores in self.scores.items())
        return Table(self.task.columns, tuple(rows))

    def skill(self, name: str) -> dict[str, float | None]:
        """Skill of each score that has a perfect value, against the reference: `Column.skill`."""
        own, reference = self.scores[name].values, self.scores[self.task.reference].values
        return {
            column.score: column.skill(own.get(column.score), reference.get(column.score))
            for column in (*self.task.details, *self.task.columns)
            if column.perfect is not None
        }

    def skills(self) -> Section:
        """A table of the skill of everyone but the reference."""
        columns = {each.header: each for each in (*self.task.columns, *self.task.details)}
        others = [name for name in self.scores if name != self.task.reference]
        skill = {name: self.skill(name) for name in others}
        rows = [
            [header, *(_two_digits(skill[name][column.score]) for name in others)]
            for header, column in columns.items()
            if column.perfect is not None
        ]
        return Section(f"Skill against {self.task.reference}", ["Score", *others], rows, SKILL)

    def best(self, column: Column) -> str | None:
        """The forecaster with the best score; None where it is undefined for all."""
        costs = {
            name: column.cost(value)
            for name, scores in self.scores.items()
            if (value := scores.values[column.score]) is not None
        }
        return min(costs, key=costs.__getitem__) if costs else None

    def difference(self, one: str, other: str, score: str) -> Difference:
        """Of `one` less `other`, whichever way round it was worked out."""
        for found in self.differences:
            if found.score == score and (found.one, found.other) == (one, other):
                return found
            if found.score == score and (found.one, found.other) == (other, one):
                return found.turned()
        raise KeyError((one, other, score))

    def details(self) -> Section:
        """A table of further scores."""
        table = Table(self.task.details, self.table.rows)
        note = f"{table.legend}. All scores are in leaderboard.csv and .json."
        return Section("Further scores", ["Forecaster", *table.header()[1:]], table.cells(), note)

    def sections(self) -> list[Section]:
        """The tables of differences."""
        against, columns = self.task.reference, self.task.columns
        others = [name for name in self.scores if name != against]
        if not others:
            return []
        count = len(next(iter(self.parts.values())))
        enough = count >= LEAST_BLOCKS
        note = f"Score less that of {against}. "
        if enough:
            pairs = len(self.scores) * (len(self.scores) - 1) // 2
            note += (
                f"Intervals (95 %) and p are from {count} blocks of the samples, resampled in "
                f"pairs; p is after Holm over the pairs of this page, {pairs} where all are "
                f"defined. {RULE}"
            )
        else:
            note += (
                f"{count} of at least {LEAST_BLOCKS} blocks of the samples: too few for an "
                "interval, so nothing here is known to be distinguishable."
            )
        found = [
            Section(
                f"Against {against}",
                ["Score", *others],
                [
                    [
                        c.title,
                        *(_cell(self.difference(name, against, c.score), c) for name in others),
                    ]
                    for c in columns
                ],
                note,
            )
        ]
        if not enough:
            return found
        ranks = [
            [column.title, leader, ", ".join(self.near(leader, column)) or DASH]
            for column in columns
            if (leader := self.best(column)) is not None
        ]
        more = "All pairs are in differences.csv."
        return [*found, Section("Which is best", RANKS, ranks, more)]

    def verdicts(self) -> list[str]:
        """Of each column a line for the console: who is best, and who is not told apart from it."""
        if len(self.scores) < 2 or len(next(iter(self.parts.values()))) < LEAST_BLOCKS:
            return []
        lines = []
        for column in self.task.columns:
            leader = self.best(column)
            if leader is not None:
                near = ", ".join(self.near(leader, column)) or "nobody"
                lines.append(f"{column.title}: {leader}; {NOT_DISTINGUISHABLE} from it: {near}")
        return [*lines, f"{NOT_DISTINGUISHABLE}: p > {LEVEL} after Holm over all pairs, by blocks"]

    def near(self, leader: str, column: Column) -> list[str]:
        """Forecasters that the one with the best score is not told apart from."""
        return [
            name
            for name in self.scores
            if name != leader
            and self.difference(leader, name, column.score).verdict not in ("better", "different")
        ]

    def write(self, out: Path, pictures: Mapping[str, Path]) -> None:
        """Write ``leaderboard.json``, ``.csv``, ``.md``, ``.html`` and ``differences.csv``.

        Args:
            out: the folder.
            pictures: caption -> a PNG or GIF file within it.
        """
        write_json(
            out / "leaderboard.json",
            [
                {
                    "forecaster": name,
                    **self.facts,
                    **scores.document(),
                    "skill": {"against": self.task.reference, **self.skill(name)},
                    "mean_over_blocks": self.block_mean(name).document(),
                }
                for name, scores in self.scores.items()
            ],
        )
        rows = [asdict(found) | {"verdict": found.verdict} for found in self.differences]
        write_text(out / "differences.csv", csv_text(rows))
        write_text(
            out / "leaderboard.csv",
            csv_text([{"forecaster": name} | dict(s.values) for name, s in self.scores.items()]),
        )
        sections = [self.details()] if self.task.details else []
        if len(self.scores) > 1:
            sections.append(self.skills())
        sections += self.sections()
        facts = {name.replace("_", " "): str(value) for name, value in self.facts.items()}
        title = f"Leaderboard on {self.facts.get('data', out.name)}"
        links = (f"![{text}]({path.relative_to(out)})\n" for text, path in pictures.items())
        text = [
            f"# {title}\n",
            "".join(f"- {name}: {value}\n" for name, value in facts.items()),
            self.table.markdown(),
            f"{self.table.legend}.\n",
            *(section.markdown() for section in sections),
            *links,
        ]
        write_text(out / "leaderboard.md", "\n".join(text))
        write_report(
            out / "leaderboard.html",
            Report(
                title=title,
                facts=facts,
                table=self.table,
                parents={},
                histories={},
                pictures={caption: path.read_bytes() for caption, path in pictures.items()},
                command="",
                sections=sections,
            ),
        )


def contest(
    entries: Mapping[str, tuple[Task, nn.Module]],
    split: str,
    ranks: Ranks,
    device: torch.device,
    out: Path,
) -> Board:
    """Score forecasters and the reference on the same samples, and write the leaderboard.

    Args:
        entries: forecaster -> its task, and itself on `device`.
        split: of the task.
        ranks: of this process; the main one writes.
        device: to forecast on.
        out: folder of the leaderboard.

    Raises:
        ConfigError: the tasks do not have the same samples.
    """
    task = next(iter(entries.values()))[0]
    facts = dict(task.facts(split))
    for name, (other, _) in entries.items():
        differing = [key for key, fact in other.facts(split).items() if facts.get(key) != fact]
        if differing:
            raise ConfigError(
                f"{name}: expected the same samples as of {next(iter(entries))}, found another "
                f"{', '.join(differing)}; set it for all of them, e.g. data.{differing[-1]}=..."
            )
    models = {name: model for name, (_, model) in entries.items()}
    if task.reference not in models:
        models = {task.reference: task.baseline(task.reference).to(device), **models}
    parts: dict[str, dict[str, Sums]] = {}
    for name, model in models.items():
        own = entries[name][0] if name in entries else task
        parts[name] = evaluate_blocks(own, model, split, ranks, device, name=name)
    board = Board(task, parts, facts | when_and_where())
    if ranks.is_main:
        with line(f"intervals, pictures and page of {out.name}"):
            board.write(out, task.gallery(board, models, split, out))
    wait()
    return board


def _two_digits(skill: float | None) -> str:
    return DASH if skill is None else f"{skill:.2f}"


def _cell(found: Difference, column: Column) -> str:
    if found.value is None:
        return DASH
    value = f"{found.value:+.{column.digits}f}"
    if found.low is None or found.high is None:
        return value
    interval = f"({found.low:+.{column.digits}f} to {found.high:+.{column.digits}f})"
    return f"{value}\n{interval}\n{found.verdict}\n{p_text(found.p, found.p_holm)}"
