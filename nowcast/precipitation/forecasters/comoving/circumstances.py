"""What holds for a whole clip: how fast its rain changes at each scale, and what it is shown in.

Radars differ in their step, pixels, noise and climate. What of that matters to a forecast is how
much of the rain lasts, which the frames themselves tell: the correlations of those of one clip,
carried to where their rain is now, by spatial scale.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

LAGS = (1, 2, 4)  # steps back; where there are fewer frames, to the oldest
SCALES = 5  # finer than 2, 4, 8 and 16 pixels, and the rest
FRAMES = max(LAGS) + 1  # that correlations are of
WET = 0.17  # pixel of 0.1 mm/h
USUAL_MINUTES, USUAL_KM, USUAL_FRAMES = 5.0, 1.0, 10.0
NUMBERS = SCALES * len(LAGS) + SCALES + 2 + 5
LEAST_POWER = 1e-7  # of a pixel; what has less has no correlation


def circumstances(
    newest: Sequence[Float[Tensor, "batch 2 height width"]],
    scale: Float[Tensor, "batch 2"],
    in_len: int,
) -> Float[Tensor, "batch numbers"]:
    """The numbers that a clip is described by, each about 1 in size.

    For each scale the correlation over the `LAGS`; its share of the power; the wet share and its
    mean pixel; then step, pixel and input length as logarithms of their ratio to the usual ones,
    with 1 where the step is known and 1 where the pixel is.

    Args:
        newest: up to `FRAMES` frames, newest first, each carried to where its rain is now: pixels,
            and 1 where they are known. Sides are multiples of 16.
        scale: minutes a step and km a pixel, 0 where unknown.
        in_len: input frames.
    """
    found = []
    now = newest[0]
    for lag in LAGS:
        then = newest[min(lag, len(newest) - 1)]
        both = now[:, 1:] * then[:, 1:]
        one, other = now[:, :1] * both, then[:, :1] * both
        size = both.flatten(1).sum(1, keepdim=True).clamp(min=1.0)
        powers = [_powers(one, one) / size, _powers(other, other) / size]
        common = _powers(one, other) / size
        least = (powers[0] * powers[1]).clamp(min=LEAST_POWER**2).sqrt()
        found.append((common / least).clamp(-1.0, 1.0))
        if lag == LAGS[0]:
            found.append((powers[0] + LEAST_POWER).log() / 4 + 2)
    known = now[:, 1:].flatten(1)
    rain = now[:, :1].flatten(1) * known
    wet = (rain >= WET).to(rain.dtype)
    share = wet.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1.0)
    mean = (rain * wet).sum(1, keepdim=True) / wet.sum(1, keepdim=True).clamp(min=1.0)
    told = (scale > 0).to(rain.dtype)
    usual = scale.new_tensor([USUAL_MINUTES, USUAL_KM])
    ratios = (torch.where(scale > 0, scale, usual) / usual).log()
    length = torch.full_like(share, in_len / USUAL_FRAMES - 1)
    return torch.cat([*found, share, 2 * mean, ratios, told, length], dim=1)


def _powers(
    one: Float[Tensor, "batch 1 height width"], other: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, "batch scales"]:
    """Inner product of two frames at each scale: of what block means of a side leave of those of
    half of it (Haar wavelets, whose scales are orthogonal)."""
    products = []
    for level in range(SCALES):
        products.append(4**level * (one * other).flatten(1).sum(1))
        if level + 1 < SCALES:
            one, other = functional.avg_pool2d(one, 2), functional.avg_pool2d(other, 2)
    finer = [products[level] - products[level + 1] for level in range(SCALES - 1)]
    return torch.stack([*finer, products[-1]], dim=1)
