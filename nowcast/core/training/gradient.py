"""The gradient of a step: of the whole batch at once, or part by part for less memory."""

from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from nowcast.core.errors import ConfigError
from nowcast.core.memel.methods.penalty import loss_weight
from nowcast.core.settings import TrainSettings
from nowcast.core.system.distributed import Ranks, unsynchronised
from nowcast.core.training.task import Batch, Task


def share(train: TrainSettings, ranks: Ranks) -> int:
    """How many samples of each batch a rank trains with.

    Raises:
        ConfigError: the ranks cannot have equal shares, or a share has fewer samples than parts.
    """
    size, rest = divmod(train.batch_size, ranks.size)
    if rest:
        raise ConfigError(
            f"train.batch_size: {train.batch_size} samples cannot be shared evenly by "
            f"{ranks.size} ranks; use a multiple"
        )
    if size < train.accumulate:
        raise ConfigError(
            f"train.accumulate: expected at most {size}, the samples of a batch of "
            f"{train.batch_size} that each of {ranks.size} ranks has, found {train.accumulate}; "
            "lower it, or raise train.batch_size"
        )
    return size


def backward(task: Task, model: nn.Module, batch: Batch, train: TrainSettings) -> Tensor:
    """Add the gradient of a batch's loss to that of the model's parameters.

    In ``train.accumulate`` parts, each with its share of the samples for a weight, it is the
    gradient of the same mean. Ranks add up theirs in the last part alone.

    Args:
        task: gives the loss.
        model: in training mode, from `wrapped`.
        batch: of this rank, on the model's device.
        train: the precision, and how many parts.

    Returns:
        the loss, a mean over the batch, without a graph.
    """
    if train.accumulate == 1:
        return _pass(task, model, batch, train)
    size = len(batch.names())
    total = torch.zeros((), device=next(model.parameters()).device)
    for number, places in enumerate(np.array_split(np.arange(size), train.accumulate), start=1):
        with nullcontext() if number == train.accumulate else unsynchronised(model):
            total += _pass(task, model, batch.take(places), train, len(places) / size)
    return total


def _pass(
    task: Task, model: nn.Module, batch: Batch, train: TrainSettings, weight: float | None = None
) -> Tensor:
    """Forward and back, the loss times `weight`."""
    assert train.precision != "auto", "settled before a run begins"
    device = next(model.parameters()).device
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=train.precision == "bf16")
    with autocast, loss_weight(1.0 if weight is None else weight):
        loss = task.loss(model, batch)
    if weight is not None:
        loss = loss * weight
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()
