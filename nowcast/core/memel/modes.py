"""A model in training or evaluation mode for a while, and afterwards as it was, come what may."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Within the block all of a model is in one mode; after it, each module in that of its own."""
    before = model.training
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        model.train(before)  # MEmeL's layers do more there than change a flag
        for module, own in modes:
            module.training = own


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block a model is in evaluation mode, and no gradient is kept track of."""
    with in_mode(model, training=False), torch.inference_mode():
        yield
