"""The training loss: balanced errors, B-MSE + B-MAE (Shi et al. 2017, section 4)."""

from jaxtyping import Bool, Float
from torch import Tensor

from nowcast.precipitation.units import Calibration
from nowcast.precipitation.verification.balance import balancing_weights

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


PERSISTENCE_FLOOR = 2e-3  # a pixel; keeps clips that hardly change from ruling a batch


def relative_loss(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    last: Float[Tensor, "batch 1 height width"],
    calibration: Calibration,
) -> Float[Tensor, ""]:
    """B-MSE + B-MAE of each clip per that of persistence, a mean over clips; masked pixels do not
    count. `PERSISTENCE_FLOOR` for each unmasked pixel is added to what is divided by.

    Args:
        prediction: pixels.
        truth: pixels.
        mask: True = use.
        last: the last input frame, which persistence forecasts.
        calibration: of the pixels.
    """
    weights = balancing_weights(truth, calibration) * mask

    def total(forecast: Tensor) -> Float[Tensor, " batch"]:
        error = forecast.float() - truth
        return (weights * (error.square() + error.abs())).flatten(1).sum(1)

    floor = PERSISTENCE_FLOOR * mask.flatten(1).sum(1)
    return (total(prediction) / (total(last[:, None]) + floor).clamp(min=1.0)).mean()
