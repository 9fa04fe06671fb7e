"""Score a model on a split: every sample once, whatever the batch size and the number of ranks."""

import torch
from torch import nn

from nowcast.core.distributed import Ranks
from nowcast.core.errors import ConfigError
from nowcast.core.sums import Scores, Sums
from nowcast.core.task import Task


def pick_device(name: str, ranks: Ranks) -> torch.device:
    """The device a config names; ``auto`` is this rank's GPU where there is one.

    Raises:
        ConfigError: cuda is asked for and not there.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError(
            "train.device: cuda was asked for, but torch finds no GPU; use auto or cpu"
        )
    if name == "cpu" or not available:
        return torch.device("cpu")
    return torch.device("cuda", ranks.local)


def evaluate(
    task: Task, model: nn.Module, split: str, ranks: Ranks, device: torch.device
) -> Scores:
    """Scores of a model in evaluation mode on a whole split; the same on every rank."""
    was_training = model.training
    model.eval()
    total: Sums | None = None
    with torch.inference_mode():
        for batch in task.evaluation_batches(split, ranks):
            sums = task.score(model, batch.to(device))
            total = sums if total is None else total + sums
    model.train(was_training)
    if total is None:
        raise ConfigError(
            f"{ranks.size} ranks, but fewer samples in the {split} split; use fewer ranks"
        )
    return task.read(total.over_ranks(device))
