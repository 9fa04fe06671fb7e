"""`nowcast evaluate` on several forecasters: the same samples for all, then the leaderboard."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from nowcast.core.comparison.board import Board, ReadAs
from nowcast.core.comparison.leaderboard import write_leaderboard
from nowcast.core.errors import ConfigError
from nowcast.core.scoring.sums import Sums
from nowcast.core.system.devices import arithmetic
from nowcast.core.system.distributed import Ranks, wait
from nowcast.core.system.machine import when_and_where
from nowcast.core.terminal.progress import line
from nowcast.core.training.evaluate import evaluate_blocks
from nowcast.core.training.task import Compared, Pictured

Parts = Mapping[str, Mapping[str, Sums]]


def contest(
    entries: Mapping[str, tuple[Compared, nn.Module]],
    split: str,
    ranks: Ranks,
    device: torch.device,
    out: Path,
    read_as: ReadAs | None = None,
    parts: Parts | None = None,
) -> Board:
    """Score forecasters and the reference on the same samples, and write the leaderboard.

    Args:
        entries: forecaster -> its task, and itself on `device`.
        split: of the task.
        ranks: of this process; the main one writes.
        device: to forecast on.
        out: folder of the leaderboard.
        read_as: see `Board`.
        parts: of `measured`, where that has been done.

    Raises:
        ConfigError: the tasks do not have the same samples.
    """
    task = next(iter(entries.values()))[0]
    facts = dict(task.facts(split))
    contestants = with_reference(entries, split, device)
    if parts is None:
        parts = measured(contestants, split, ranks, device)
    board = Board(task, parts, facts | when_and_where(), read_as)
    if ranks.is_main:
        models = {name: model for name, (_, model) in contestants.items()}
        with arithmetic(), line(f"intervals, pictures and page of {out.name}"):
            pictures = task.gallery(parts, models, split, out) if isinstance(task, Pictured) else {}
            write_leaderboard(board, out, pictures)
    wait()
    return board


def with_reference(
    entries: Mapping[str, tuple[Compared, nn.Module]], split: str, device: torch.device
) -> dict[str, tuple[Compared, nn.Module]]:
    """The forecasters, and the reference before them if it is not among them.

    Raises:
        ConfigError: the tasks do not have the same samples.
    """
    task = next(iter(entries.values()))[0]
    facts = task.facts(split)
    for name, (other, _) in entries.items():
        differing = [key for key, fact in other.facts(split).items() if facts.get(key) != fact]
        if differing:
            raise ConfigError(
                f"{name}: expected the same samples as of {next(iter(entries))}, found another "
                f"{', '.join(differing)}; set it for all of them, e.g. data.{differing[-1]}=..."
            )
    if task.reference in entries:
        return dict(entries)
    return {task.reference: (task, task.baseline(task.reference).to(device)), **entries}


def measured(
    contestants: Mapping[str, tuple[Compared, nn.Module]],
    split: str,
    ranks: Ranks,
    device: torch.device,
) -> Parts:
    """Forecaster -> block of the split -> its sums."""
    return {
        name: evaluate_blocks(task, model, split, ranks, device, name=name)
        for name, (task, model) in contestants.items()
    }
