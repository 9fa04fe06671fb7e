"""The training loss: balanced errors, B-MSE + B-MAE.

Shi et al. 2017, section 4, doi:10.48550/arXiv.1706.03458.
"""

from itertools import pairwise
from math import log

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from nowcast.precipitation.units import DBZ_AT_PIXEL_0, DBZ_SPAN, Calibration
from nowcast.precipitation.verification.balance import balancing_weights

LOSS_SCALE = 5e-5  # HKO-7's NORMAL_LOSS_GLOBAL_SCALE
AREA_MM_H = (0.5, 2.0, 5.0, 10.0)
AREA_WIDTH = 0.01  # pixels, 0.7 dB
AREA_FLOOR = 1e-3
POOLED_PX = (1, 4, 16)
RATE_FLOOR = 0.02  # mm/h
LEAST_SHARE = 1e-3  # of a square; keeps one without data from dividing by 0
PERSISTENCE_FLOOR = 2e-3  # a pixel; keeps clips that hardly change from ruling a batch


def balanced_loss(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
    clip_weights: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """``5e-5 * (B-MSE + B-MAE)``, averaged over clips and lead times; masked pixels do not count.

    Range [0, inf), best 0. `clip_weights` multiply the loss of each clip; the mean is still over
    their number.
    """
    errors = _errors(prediction, truth, balancing_weights(truth, calibration) * mask)
    total = errors.sum() if clip_weights is None else clip_weights @ errors.flatten(1).sum(1)
    return LOSS_SCALE * total / (truth.shape[0] * truth.shape[1])


def relative_loss(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    last: Float[Tensor, "batch 1 height width"],
    calibration: Calibration,
    logarithm: bool = False,
) -> Float[Tensor, ""]:
    """B-MSE + B-MAE divided by persistence's, averaged over clips; masked pixels do not count.

    Range [0, inf), best 0; 1 is as good as persistence. `PERSISTENCE_FLOOR` for each unmasked pixel
    is added to the divisor.

    Args:
        prediction: pixels in [0, 1].
        truth: pixels in [0, 1].
        mask: True = use.
        last: the last input frame, which persistence forecasts.
        calibration: of the pixels.
        logarithm: take the mean of the ratios' logarithms, with the floor added to both of a ratio;
            range (-inf, inf), 0 is as good as persistence.
    """
    weights = balancing_weights(truth, calibration) * mask

    def total(forecast: Tensor) -> Float[Tensor, " batch"]:
        return _errors(forecast, truth, weights).flatten(1).sum(1)

    floor = PERSISTENCE_FLOOR * mask.flatten(1).sum(1)
    of_last = (total(last[:, None]) + floor).clamp(min=1.0)
    if logarithm:
        return ((total(prediction) + floor).clamp(min=1.0) / of_last).log().mean()
    return (total(prediction) / of_last).mean()


def area_loss(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
) -> Float[Tensor, ""]:
    """Squared logarithm of the frequency bias, averaged over rain rates and lead times.

    The bias is of all clips together. A pixel is counted by how sure it is above the threshold, a
    sigmoid `AREA_WIDTH` wide, in forecast and truth alike. `AREA_FLOOR` of the unmasked pixels is
    added to both areas, so that a rate which hardly comes does not rule. Range [0, inf), best 0.
    """
    valid = mask.sum(dim=(0, 2, 3, 4))
    floor = AREA_FLOOR * valid + 1.0
    total = prediction.new_zeros(())
    for threshold in AREA_MM_H:
        level = float(calibration.pixel_from_rate(threshold))
        forecast, observed = (
            (torch.sigmoid((frames.float() - level) / AREA_WIDTH) * mask).sum(dim=(0, 2, 3, 4))
            for frames in (prediction, truth)
        )
        total = total + ((forecast + floor) / (observed + floor)).log().square().mean()
    return total / len(AREA_MM_H)


def members_loss(
    members: Float[Tensor, "batch member time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    last: Float[Tensor, "batch 1 height width"],
    calibration: Calibration,
) -> Float[Tensor, ""]:
    """Fair CRPS over that of persistence, its absolute error, averaged over clips, over pixels and
    rain rates, over means of `POOLED_PX` pixels a side, and over what each of these means differs
    by from the next larger one around it.

    The fair score of few members has the expectation of that of many (Ferro 2014,
    doi:10.1002/qj.2270). Means over an area make what members have in common in space count too,
    differences what rain looks like from near: a member that is smooth, or rough, has them wrong.
    Best 0; below 0 by chance. Masked pixels do not count.
    """
    of: list[Tensor] = []
    frames = members.float(), truth[:, None], last[:, None, None]
    in_mm_h = [_rate(pixels, calibration) for pixels in frames]
    shares = [_means(mask[:, None].float(), side) for side in POOLED_PX]
    for floor, parts in ((PERSISTENCE_FLOOR, frames), (RATE_FLOOR, in_mm_h)):
        means = [
            [_means(part * mask[:, None], side) / share.clamp(min=LEAST_SHARE) for part in parts]
            for side, share in zip(POOLED_PX, shares, strict=True)
        ]
        for fields, share in zip(means, shares, strict=True):
            of.append(_over_persistence(fields, share, floor))
        for (fine, coarse), share in zip(pairwise(means), shares[:-1], strict=True):
            apart = [_within(*both) for both in zip(fine, coarse, strict=True)]
            of.append(_over_persistence(apart, share, floor))
    return torch.stack(of).mean()


def _over_persistence(fields: list[Tensor], share: Tensor, floor: float) -> Float[Tensor, ""]:
    """The fair CRPS of members, truth and last frame, over that of persistence."""
    members, truth, last = fields
    of_members = (_fair_crps(members, truth) * share[:, 0]).flatten(1).sum(1)
    of_last = ((last - truth).abs() * share).flatten(1).sum(1)
    return (of_members / (of_last + floor * share.flatten(1).sum(1))).mean()


def _within(fine: Tensor, coarse: Tensor) -> Tensor:
    """What fine means differ by from the coarse ones around them."""
    times = fine.shape[-1] // coarse.shape[-1]
    around = coarse.repeat_interleave(times, -1).repeat_interleave(times, -2)
    height, width = around.shape[-2:]  # pixels beyond the last whole square have no mean
    return functional.pad(
        fine[..., :height, :width] - around,
        (0, fine.shape[-1] - width, 0, fine.shape[-2] - height),
    )


def _fair_crps(
    members: Float[Tensor, "batch member time 1 high wide"],
    truth: Float[Tensor, "batch 1 time 1 high wide"],
) -> Float[Tensor, "batch time 1 high wide"]:
    count = members.shape[1]
    # Of members that ascend, the distances to all others are one factor of each.
    ascending = members.sort(dim=1).values
    factors = 2 * torch.arange(count, device=members.device) + 1 - count
    apart = torch.einsum("m,bmtchw->btchw", factors.to(members.dtype), ascending)
    return (members - truth).abs().mean(1) - apart / (count * (count - 1))


def _rate(pixels: Tensor, calibration: Calibration) -> Tensor:
    """mm/h; from 0 on with a gradient, so less than `Calibration.rate_from_pixel` has by the rate
    of the scale's lower end, 0.01 mm/h."""
    at_0 = float(calibration.rate_from_dbz(DBZ_AT_PIXEL_0))
    power = DBZ_SPAN * log(10) / (10 * calibration.zr_b)
    return at_0 * torch.expm1(power * pixels.clamp(0.0, 1.0))


def _means(frames: Float[Tensor, "batch member time 1 height width"], side: int) -> Tensor:
    """Over squares."""
    means = functional.avg_pool2d(frames.flatten(0, 2), side)
    return means.view(*frames.shape[:4], *means.shape[-2:])


def _errors(prediction: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Of each pixel the weighted squared error plus the weighted absolute one."""
    error = prediction.float() - truth
    return weights * (error.square() + error.abs())
