"""Optimiser, learning rate as a function of the step, clipping of gradients."""

import torch
from torch import nn

from nowcast.core.settings import OptimSettings


def optimiser(model: nn.Module, settings: OptimSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over all parameters that are trained."""
    kind: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[
        settings.name
    ]
    return kind(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def rate(step: int, settings: OptimSettings) -> float:
    """Learning rate of a step (from 0): ``lr * decay_factor ** (step // decay_every)``."""
    if settings.decay_every is None:
        return settings.lr
    return float(settings.lr * settings.decay_factor ** (step // settings.decay_every))


def set_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Give every group of parameters this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = value


def clip(model: nn.Module, settings: OptimSettings) -> None:
    """Clip the gradients in place, by value or by norm."""
    if settings.clip == "value":
        nn.utils.clip_grad_value_(model.parameters(), settings.clip_at)
    elif settings.clip == "norm":
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_at)
