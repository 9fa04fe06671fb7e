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
) -> Float[Tensor, ""]:
    """``5e-5 * (B-MSE + B-MAE)``, a mean over clips and lead times; masked pixels do not count."""
    weights = balancing_weights(truth, calibration) * mask
    error = prediction.float() - truth
    frames = truth.shape[0] * truth.shape[1]
    return LOSS_SCALE * (weights * (error.square() + error.abs())).sum() / frames
