"""A moving threshold that a given share of a layer's values exceed, found without sorting any.

Wang et al. 2025 (arXiv 2503.23298), section 4.2: "a global percentage rather than an in-batch
ranking", by "an element-wise comparison per batch with an O(1) update to converge the threshold to
the global value of the 2 %-th highest" scale. The update itself is in their Appendix A, which could
not be read here; this one is ours.
"""

import math
from statistics import NormalDist

import torch
from torch import Tensor
from torch.compiler import is_compiling

from nowcast.core.memel.fused import YOUNG_CALLS, Inhibiting
from nowcast.core.memel.methods.method import Scored
from nowcast.core.system.distributed import SumUnderWay, is_shared, sum_over_ranks

WINDOW = 100  # batches that the threshold averages over, once there are as many


def first(share: float) -> float:
    """The threshold for normal values, whose scale is a chi-squared number: 5.41 for 2 %."""
    return NormalDist().inv_cdf(1 - share / 2) ** 2


def equip(layer: Inhibiting) -> None:
    """Give a layer its threshold, one float32 number in `state_dict`."""
    layer.register_buffer("threshold", torch.tensor(first(layer.share)))


def above(layer: Inhibiting, scored: Scored) -> Tensor:
    """Which values are to be acted on; in training the threshold moves after the comparison.

    A value that is not finite is not among them. Over several ranks the threshold moves by the
    share of all of them, at the next `settle`.
    """
    threshold: Tensor = layer.get_buffer("threshold")
    exceeds = (scored.scale >= threshold) & (scored.values.abs() < math.inf)
    if layer.training:
        counted = exceeds & scored.known if scored.masked else exceeds
        total = scored.known.sum() if scored.masked else exceeds.numel() * scored.known
        move(layer, counted.sum(), total, scored.calls.max())
    return exceeds & scored.started


def move(
    layer: Inhibiting, exceeding: Tensor | int, total: Tensor | int, calls: Tensor | int
) -> None:
    """Move a layer's threshold by a batch, of which so many of `total` values exceed it.

    ``log threshold += (exceeding / total / share - 1) / min(calls, WINDOW)``, cut to a factor of e:
    the stochastic approximation of a quantile (Robbins & Monro 1951, doi:10.1214/aoms/1177729586)
    of the scale's logarithm, after so many batches. It stands still where the share exceeds it on
    average over batches, so one with rare events may have many and a dull one none.
    """
    threshold: Tensor = layer.get_buffer("threshold")
    share = layer.share
    shared = layer.sync and is_shared()
    if not shared and threshold.is_cpu and not is_compiling():
        # Ten small operations on tensors cost more than all else (decision 0005).
        if values := float(total):
            step = (float(exceeding) / values / share - 1) / min(max(float(calls), 1), WINDOW)
            threshold.mul_(math.exp(min(max(step, -1.0), 1.0)))
        return
    counts = [torch.as_tensor(n, device=threshold.device) for n in (exceeding, total, calls)]
    window = counts[2].clamp(1, WINDOW)
    sums = torch.stack(counts[:2]).double()

    def moved(sums: Tensor) -> None:
        step = ((sums[0] / sums[1].clamp(min=1) / share - 1) / window).clamp(-1, 1)
        threshold.mul_(torch.where(sums[1] > 0, step, 0).exp().float())

    if shared and not is_compiling():
        under_way = SumUnderWay(sums)
        layer.later(lambda: moved(under_way.wait()))
    else:
        moved(sum_over_ranks(sums) if shared else sums)


def counted(values: int, calls: Tensor | int) -> Tensor | int:
    """How many of a batch's values have a scale that means something, after so many calls."""
    return values * (calls >= YOUNG_CALLS)
