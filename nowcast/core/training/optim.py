"""Optimiser, learning rate as a function of the step, clipping of gradients."""

from math import cos, pi

import torch
from torch import nn

from nowcast.core.settings import OptimSettings


def optimiser(model: nn.Module, settings: OptimSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over all parameters that are trained."""
    kind: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[
        settings.name
    ]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [{"params": trained, "weight_decay": settings.weight_decay}]
    if settings.weight_decay_on == "matrices":
        matrices = [parameter for parameter in trained if parameter.ndim > 1]
        others = [parameter for parameter in trained if parameter.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
    return kind(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


def for_device(optimiser: torch.optim.Optimizer, device: torch.device) -> None:
    """Keep the rate where a step needs it: on a GPU as a tensor there, for recorded steps
    (`graph`) to read; on a CPU as a number. To be called when a state has been loaded, too."""
    on_gpu = device.type == "cuda"
    for group in optimiser.param_groups:
        value = float(group["lr"])
        group["lr"] = torch.full((), value, device=device) if on_gpu else value
        group["capturable"] = on_gpu


def rate(step: int, settings: OptimSettings, steps: int) -> float:
    """Learning rate of a step (from 0) of a run of `steps`.

    The warm-up takes ``w = int(warm_up * steps)`` of them, ``lr_start + (lr - lr_start) step / w``.
    After it the share ``t = (step - w) / (steps - w)`` of the rest is over, and the rate is

    - step: ``lr * decay_factor ** (step // decay_every)``, from the first step on;
    - linear: ``lr + (lr_end - lr) t``;
    - cosine: ``lr_end + (lr - lr_end) (1 + cos(pi t)) / 2`` (Loshchilov and Hutter 2017).
    """
    warm = int(settings.warm_up * steps)
    if step < warm:
        return settings.lr_start + (settings.lr - settings.lr_start) * step / warm
    over = (step - warm) / max(1, steps - warm)
    if settings.schedule == "linear":
        return settings.lr + (settings.lr_end - settings.lr) * over
    if settings.schedule == "cosine":
        return settings.lr_end + (settings.lr - settings.lr_end) * (1 + cos(pi * over)) / 2
    if settings.decay_every is None:
        return settings.lr
    return float(settings.lr * settings.decay_factor ** (step // settings.decay_every))


def set_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Give every group of parameters this learning rate; a tensor keeps its place."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value


def clip(model: nn.Module, settings: OptimSettings) -> None:
    """Clip the gradients in place, by value or by norm."""
    if settings.clip == "value":
        nn.utils.clip_grad_value_(model.parameters(), settings.clip_at)
    elif settings.clip == "norm":
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_at)
