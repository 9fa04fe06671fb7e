"""Activation checkpointing: what is computed again on the way back, for less memory."""

from torch import nn

from nowcast.core.errors import ConfigError

FLAG = "gradient_checkpointing"  # of transformers: this module does so


def recompute_blocks(model: nn.Module) -> None:
    """Let a model keep no activations within its blocks in training, but compute them again: the
    blocks of a transformer, the time steps of a recurrent network.

    Of blocks within blocks, as in Swin's stages, only the inner ones do so: MEmeL knows no
    checkpoint within another, and nothing is computed a third time.

    Args:
        model: with transformers' way to ask for it, not yet wrapped as DDP.

    Raises:
        ConfigError: it does not offer this.
    """
    # From 5.23 on, the older name warns that it will go.
    enable = getattr(model, "activation_checkpointing_enable", None) or getattr(
        model, "gradient_checkpointing_enable", None
    )
    fault = f"found {type(model).__name__}"
    if enable is not None:
        try:
            enable({"use_reentrant": False})
        except ValueError as error:
            enable, fault = None, str(error)
    if enable is None:
        raise ConfigError(
            "train.checkpoint: expected a model that can compute its blocks again, "
            f"{fault}; set train.checkpoint=false, and train.accumulate for less memory"
        )
    for block in _recomputed(model):
        if len(_recomputed(block)) > 1:
            setattr(block, FLAG, False)


def _recomputed(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if getattr(module, FLAG, False)]
