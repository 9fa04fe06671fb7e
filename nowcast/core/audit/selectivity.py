"""Which neurons respond to one group of samples alone: two measures of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Shaped

SHARES = (0.01, 0.02, 0.03)  # of the values, that Wang et al. 2025 inhibit


def separation(
    means: Float64[np.ndarray, "group neuron"], variances: Float64[np.ndarray, "group neuron"]
) -> Float64[np.ndarray, "group neuron"]:
    """How far each group lies above or below all others, in standard deviations of the response.

    ``d_gh = (mean_g - mean_h) / sqrt((variance_g + variance_h) / 2)``, Cohen's d for unequal
    variances (Cohen 1988, eq. 2.3.2), so that no third group counts; then ``d_g``, the d_gh of
    least size if g lies above all others or below all others, else 0. Range: all numbers.

    Args:
        means: of the response, in at least two groups.
        variances: unbiased, above 0.
    """
    d = np.empty_like(means)
    for g in range(len(means)):
        others = np.arange(len(means)) != g
        pairs = (means[g] - means[others]) / np.sqrt((variances[g] + variances[others]) / 2)
        d[g] = pairs.min(0).clip(min=0) + pairs.max(0).clip(max=0)
    return d


def false_killing_rates(
    values: Float[np.ndarray, "sample neuron"],
    groups: Shaped[np.ndarray, " sample"],
    shares: Sequence[float] = SHARES,
) -> dict[float, float]:
    """False Killing Rate by the share of values that a method would inhibit.

    Of the values with the largest scale ``phi = (z - mean)^2 / variance`` (over samples), those of
    samples outside the group to which their neuron belongs: that with its largest mean phi. Range
    0 to 1; best 0. Wang et al. 2025 (arXiv 2503.23298), eq. 1, 3 and 4; on texts of 2 % they find
    0.05 to 0.67. Where responses have nothing to do with the groups it is about 1 minus the share
    of a group, so it is to be held against that.

    Args:
        values: the layer's responses.
        groups: of each sample.
        shares: of all values; at least one value is taken.

    Returns:
        share -> rate; empty where no neuron varies.
    """
    variance = values.var(0, ddof=1)
    varies = variance > 0  # the paper has no compensation, so such a neuron has no scale
    phi = (values[:, varies] - values[:, varies].mean(0)) ** 2 / variance[varies]
    if not phi.size:
        return {}
    names = np.unique(groups)
    own = names[np.argmax([phi[groups == name].mean(0) for name in names], axis=0)]
    outside = groups[:, None] != own
    rates = {}
    for share in shares:
        count = max(round(share * phi.size), 1)
        least = np.partition(phi, phi.size - count, axis=None)[phi.size - count]
        rates[share] = float(outside[phi >= least].mean())
    return rates
