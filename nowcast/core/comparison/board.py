"""A leaderboard: forecasters on exactly the same samples, and which of them can be told apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nowcast.core.comparison.leaderboard import write_leaderboard
from nowcast.core.comparison.statistics.bootstrap import Difference, differences
from nowcast.core.errors import ConfigError
from nowcast.core.scoring.pooling import block_mean, pooled
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column, Row, Table
from nowcast.core.system.distributed import Ranks, wait
from nowcast.core.system.machine import when_and_where
from nowcast.core.terminal.progress import line
from nowcast.core.training.evaluate import evaluate_blocks
from nowcast.core.training.task import Compared, Pictured


@dataclass(frozen=True)
class Board:
    """What was measured of some forecasters, the task's reference among them.

    Args:
        task: reads the sums and says what columns there are.
        parts: forecaster -> block -> its sums; the same blocks for all.
        facts: what was scored, when and where.
    """

    task: Compared
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


def contest(
    entries: Mapping[str, tuple[Compared, nn.Module]],
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
            pictures = task.gallery(parts, models, split, out) if isinstance(task, Pictured) else {}
            write_leaderboard(board, out, pictures)
    wait()
    return board
