"""The training loss: balanced errors, B-MSE + B-MAE (Shi et al. 2017, section 4)."""

from jaxtyping import Bool, Float
from torch import Tensor

from nowcast.precipitation.balance import balancing_weights
from nowcast.precipitation.units import Calibration

LOSS_SCALE = 5e-5  # HKO-7's NORMAL_LOSS_GLOBAL_SCALE


def balanced_loss(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
    clip_weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """``5e-5 * (B-MSE + B-MAE)``, a mean over clips and lead times; masked pixels do not count.

    `clip_weights` multiply the loss of each clip; the mean is still over their number.
    """
    weights = balancing_weights(truth, calibration) * mask
    error = prediction.float() - truth
    errors = weights * (error.square() + error.abs())
    total = errors.sum() if clip_weights is None else clip_weights @ errors.flatten(1).sum(1)
    return LOSS_SCALE * total / (truth.shape[0] * truth.shape[1])
