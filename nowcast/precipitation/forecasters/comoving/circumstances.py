"""What holds for a whole clip: how fast its rain changes at each scale, and what it is shown in.

Radars differ in their step, pixels, noise and climate. What of that matters to a forecast is how
much of the rain lasts, which the frames themselves tell: the correlations of those of one clip,
carried to where their rain is now, by spatial scale.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

LAGS = (1, 2, 4)  # steps back; where there are fewer frames, to the oldest
SCALES = 5  # finer than 2, 4, 8 and 16 pixels, and the rest
WET = 0.17  # pixel of 0.1 mm/h
USUAL_MINUTES, USUAL_KM, USUAL_FRAMES = 5.0, 1.0, 10.0
NUMBERS = SCALES * len(LAGS) + SCALES + 2 + 5
LEAST_POWER = 1e-7  # of a pixel; what has less has no correlation


class Circumstances:
    """The numbers that a clip is described by, each about 1 in size, from one frame at a time.

    Args:
        now: the newest frame: pixels, and 1 where they are known. Sides are multiples of 16.
        in_len: input frames, at least 2.
    """

    def __init__(self, now: Float[Tensor, "batch 2 height width"], in_len: int) -> None:
        self._now, self._in_len = now, in_len
        self._correlations: dict[int, Tensor] = {}
        self._power: Tensor | None = None

    def add(self, part: Float[Tensor, "batch 2 height width"], age: int) -> None:
        """Take a frame as it would look had its rain already moved to where it is now.

        Args:
            part: as `now`.
            age: how many steps older it is.
        """
        lags = [lag for lag in LAGS if min(lag, self._in_len - 1) == age]
        if not lags:
            return
        both = self._now[:, 1:] * part[:, 1:]
        now, then = self._now[:, :1] * both, part[:, :1] * both
        size = both.flatten(1).sum(1, keepdim=True).clamp(min=1.0)
        powers = [_products(rain, rain) / size for rain in (now, then)]
        least = (powers[0] * powers[1]).clamp(min=LEAST_POWER**2).sqrt()
        correlation = (_products(now, then) / size / least).clamp(-1.0, 1.0)
        self._correlations |= dict.fromkeys(lags, correlation)
        if LAGS[0] in lags:
            self._power = (powers[0] + LEAST_POWER).log() / 4 + 2

    def numbers(self, scale: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch numbers"]:
        """Correlations by scale over the first lag, the powers of the scales, correlations over the
        other lags; the wet share and its mean pixel; step, pixel and input length as logarithms of
        (or, of the last, difference from 1 of) their ratio to the usual ones, with 1 where the step
        is known and 1 where the pixel is.

        Args:
            scale: minutes a step and km a pixel, 0 where unknown.
        """
        assert self._power is not None
        first, *others = (self._correlations[lag] for lag in LAGS)
        known = self._now[:, 1:].flatten(1)
        rain = self._now[:, :1].flatten(1) * known
        wet = (rain >= WET).to(rain.dtype)
        share = wet.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1.0)
        mean = (rain * wet).sum(1, keepdim=True) / wet.sum(1, keepdim=True).clamp(min=1.0)
        usual = torch.stack(  # filled where it is: a list of numbers would travel to a GPU
            [torch.full_like(scale[:, 0], one) for one in (USUAL_MINUTES, USUAL_KM)], dim=1
        )
        ratios = (torch.where(scale > 0, scale, usual) / usual).log()
        length = torch.full_like(share, self._in_len / USUAL_FRAMES - 1)
        told = (scale > 0).to(rain.dtype)
        return torch.cat([first, self._power, *others, share, 2 * mean, ratios, told, length], 1)


def _products(
    one: Float[Tensor, "batch 1 height width"], other: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, "batch scales"]:
    """Inner product of two frames at each scale: of what block means of a side leave of those of
    half of it (Haar wavelets, whose scales are orthogonal)."""
    found = []
    for level in range(SCALES):
        found.append(4**level * (one * other).flatten(1).sum(1))
        if level + 1 < SCALES:
            one, other = functional.avg_pool2d(one, 2), functional.avg_pool2d(other, 2)
    finer = [found[level] - found[level + 1] for level in range(SCALES - 1)]
    return torch.stack([*finer, found[-1]], dim=1)
