"""A leaderboard: forecasters on exactly the same samples, and which of them can be told apart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from nowcast.core.comparison.statistics.bootstrap import Difference, differences
from nowcast.core.scoring.pooling import block_mean, pooled
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column, Row, Table
from nowcast.core.training.task import Compared

ReadAs = Callable[[str, Sums], Scores]


@dataclass(frozen=True)
class Board:
    """What was measured of some forecasters, the task's reference among them.

    Args:
        task: reads the sums and says what columns there are.
        parts: forecaster -> block -> its sums; the same blocks for all.
        facts: what was scored, when and where.
        read_as: forecaster and sums -> scores, where a forecaster's are read in a way of its own;
            None: as the task reads them.
    """

    task: Compared
    parts: Mapping[str, Mapping[str, Sums]]
    facts: Mapping[str, Any]
    read_as: ReadAs | None = None

    def read(self, name: str, sums: Sums) -> Scores:
        """The scores of a forecaster that its sums give."""
        return self.task.read(sums) if self.read_as is None else self.read_as(name, sums)

    @property
    def details(self) -> tuple[Column, ...]:
        """The further scores that were read of any forecaster."""
        read = {name for scores in self.scores.values() for name in scores.values}
        return tuple(column for column in self.task.details if column.score in read)

    @property
    def compared(self) -> tuple[Column, ...]:
        """The scores by which forecasters are told apart."""
        return (*self.task.columns, *(column for column in self.details if column.tested))

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Of each forecaster, from the sums over all samples."""
        return {
            name: self.read(name, pooled(list(blocks.values()))).resting_on(blocks=len(blocks))
            for name, blocks in self.parts.items()
        }

    @cached_property
    def by_block(self) -> dict[str, dict[str, Scores]]:
        """Of each forecaster, in each block."""
        return {
            name: {block: self.read(name, sums) for block, sums in blocks.items()}
            for name, blocks in self.parts.items()
        }

    def block_mean(self, name: str) -> Scores:
        """Scores in a block on average, where `scores` are those over all samples together."""
        return block_mean(list(self.parts[name].values()), partial(self.read, name))

    @cached_property
    def differences(self) -> list[Difference]:
        """Of every pair, with its interval."""
        parts = {name: [blocks] for name, blocks in self.parts.items()}
        return differences(parts, self.task.read_columns, self.compared)

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
            for column in (*self.details, *self.task.columns)
            if column.perfect is not None
        }

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

    def near(self, leader: str, column: Column) -> list[str]:
        """Forecasters that the one with the best score is not told apart from."""
        return [
            name
            for name in self.scores
            if name != leader
            and self.difference(leader, name, column.score).verdict not in ("better", "different")
        ]
