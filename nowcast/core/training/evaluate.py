"""Score a model on a split: every sample once, whatever the batch size and the number of ranks.

Scores are of forecasts in float32 as IEEE has it, whatever a run trains in.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nowcast.core.errors import ConfigError
from nowcast.core.memel.modes import evaluating
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.system.devices import arithmetic
from nowcast.core.system.distributed import Ranks, any_rank
from nowcast.core.terminal.progress import Line, line
from nowcast.core.training.task import Batch, Compared, ScoresParts, Task

FORECASTER = "the forecaster"  # where a message has no better name for it


def evaluate(
    task: Task,
    model: nn.Module,
    split: str,
    ranks: Ranks,
    device: torch.device,
    title: str = "scoring",
    finite: bool = True,
) -> Scores:
    """Scores of a model in evaluation mode on a whole split; see `summed`."""
    return task.read(summed(task, model, split, ranks, device, title, finite))


def summed(
    task: Task,
    model: nn.Module,
    split: str,
    ranks: Ranks,
    device: torch.device,
    title: str = "scoring",
    finite: bool = True,
) -> Sums:
    """The sums of a model in evaluation mode on a whole split; the same on every rank.

    Args:
        task: with the split.
        model: in evaluation mode while this lasts.
        split: of the task.
        ranks: of this process.
        device: where the model is.
        title: of its progress.
        finite: refuse forecasts that are no numbers; without it their scores are undefined.

    Raises:
        ConfigError: on every rank, where the split has fewer samples than there are ranks.
        RunError: on every rank, where forecasts are no numbers.
    """
    total: Sums | None = None
    scored = line(title, task.samples(split), unit="samples")
    with evaluating(model), arithmetic(), scored as scoring:
        for batch in task.evaluation_batches(split, ranks):
            sums = task.score(model, batch.to(device))
            total = sums if total is None else total + sums
            _count(scoring, batch, ranks)
    _check_all_had_some(total is not None, split, ranks, device)
    assert total is not None
    total = total.over_ranks(device)
    if finite:
        total.check_finite(FORECASTER)
    return total


def evaluate_blocks(
    task: Compared,
    model: nn.Module,
    split: str,
    ranks: Ranks,
    device: torch.device,
    full: bool = True,
    name: str = FORECASTER,
) -> dict[str, Sums]:
    """The sums of a model for each block of the split; the same on every rank.

    Args:
        task: names the blocks; samples of one block are not independent of each other.
        model: in evaluation mode while this lasts.
        split: of the task.
        ranks: of this process.
        device: where the model is.
        full: measured by `task.verify`; otherwise by `task.score`, which is less and faster.
        name: of the model, for its progress and messages.

    Raises:
        ConfigError, RunError: as `evaluate`.
    """
    found: dict[str, Sums] = {}
    title = f"scoring {name} on {split}"
    scored = line(title, task.samples(split), unit="samples")
    with evaluating(model), arithmetic(), scored as scoring:
        for batch in task.evaluation_batches(split, ranks):
            blocks_of = np.array(task.blocks(split, batch))
            blocks = list(dict.fromkeys(blocks_of.tolist()))
            parts = [np.flatnonzero(blocks_of == block) for block in blocks]
            for block, sums in zip(
                blocks, _measured(task, model, batch, parts, device, full), strict=True
            ):
                found[block] = found[block] + sums if block in found else sums
            _count(scoring, batch, ranks)
    _check_all_had_some(bool(found), split, ranks, device)
    nothing = next(iter(found.values())).zero()
    whole = {
        block: found.get(block, nothing).over_ranks(device) for block in task.block_names(split)
    }
    for sums in whole.values():
        sums.check_finite(name)
    return whole


def _measured(
    task: Compared,
    model: nn.Module,
    batch: Batch,
    parts: Sequence[NDArray[np.intp]],
    device: torch.device,
    full: bool,
) -> Iterable[Sums]:
    """The sums of each part of a batch."""
    if isinstance(task, ScoresParts) and not full:
        return task.score_parts(model, batch.to(device), parts)
    measure = task.verify if full else task.score
    return (measure(model, batch.take(part).to(device)) for part in parts)


def _count(scoring: Line, batch: Batch, ranks: Ranks) -> None:
    """Show what this rank has scored, as if the others had come as far."""
    assert scoring.total is not None
    done = scoring.done + len(batch.names()) * ranks.size
    scoring.set(min(done, scoring.total), scoring.total)


def _check_all_had_some(some: bool, split: str, ranks: Ranks, device: torch.device) -> None:
    # Asked of all ranks, or those with samples would wait for the one without.
    if any_rank(not some, device):
        raise ConfigError(
            f"{ranks.size} ranks, but fewer samples in the {split} split; use fewer ranks"
        )
