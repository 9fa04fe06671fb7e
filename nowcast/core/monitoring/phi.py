"""Sums of Monosemantic Scales, and the numbers that they give."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nowcast.core.memel.scale import INELIGIBLE

FIRST_OCTAVE, LAST_OCTAVE = -14, 20  # of the histogram: phi from 6e-5 to 2e6
LOG10_PHI_EDGES = tuple(
    octave * math.log10(2) for octave in range(FIRST_OCTAVE, LAST_OCTAVE + 2)
)  # the outermost bins also take what is beyond them, so phi = 0 is in the first
BINS = len(LOG10_PHI_EDGES) - 1
SUMS = 5 + BINS  # samples, tops, values, phi, phi^2, then the histogram


@dataclass(frozen=True)
class Reading:
    """What one site did; a number that is undefined is left out.

    Args:
        numbers: by name,

            ``mean_phi``: mean Monosemantic Scale of the logged step; 1 where the running statistics
            are those of the values.
            ``top_phi``: mean over samples of the largest scale in the sample.
            ``tail``: mean of phi^2 over squared mean of phi. Phi is a squared standard score, so
            this is the kurtosis of the activations: 3 for a normal distribution, more where rare
            values lie far out.
            ``fraction_inhibited``: of the neurons, those inhibited at least once in the run.
            ``pick_entropy``: entropy of all picks of the run over the neurons, divided by its
            maximum: 0, always the same neuron; 1, all equally often. N picks reach at most
            log N / log neurons.
            ``kurtosis``: of each neuron's values, fourth moment over squared variance, in the mean
            over neurons: 3 for a normal distribution. Of `monosemanticity` alone.
        log10_phi: how many values had their scale within each two of `LOG10_PHI_EDGES`; empty
            where nothing was measured.
    """

    numbers: Mapping[str, float]
    log10_phi: tuple[int, ...]


def sums_of(scale: Tensor) -> Tensor:
    """`SUMS` float64 numbers of ``batch neurons``, `INELIGIBLE` where absent, that add up."""
    absent = scale == INELIGIBLE
    phi = scale.masked_fill(absent, 0.0)  # which adds nothing but to the first bin
    exact = phi.double().view(-1)  # squares of float32 overflow it
    moments = exact.new_zeros(5)
    moments[0] = len(phi) - absent.all(1).sum()
    moments[2] = phi.numel() - absent.sum()
    moments[1] = phi.amax(1).sum(dtype=torch.float64)
    moments[3], moments[4] = exact.sum(), exact.dot(exact)
    # The exponent of a float32 is its octave; a logarithm and a search cost six times as much.
    octaves = (phi.view(-1).view(torch.int32) >> 23) - 127
    octaves = octaves.clamp_(FIRST_OCTAVE, LAST_OCTAVE) - FIRST_OCTAVE
    histogram = torch.bincount(octaves, minlength=BINS)
    histogram[0] -= absent.sum()
    return torch.cat((moments, histogram))


def reading_of(sums: Sequence[float], numbers: Mapping[str, float]) -> Reading:
    """What added `sums_of` give, with other numbers of the site."""
    samples, tops, values, phi, squares, *histogram = sums
    if not values or not math.isfinite(squares):
        return Reading(numbers, ())
    found = {**numbers, "mean_phi": phi / values, "top_phi": tops / samples}
    if phi:
        found["tail"] = squares * values / phi**2
    return Reading(found, tuple(map(int, histogram)))
