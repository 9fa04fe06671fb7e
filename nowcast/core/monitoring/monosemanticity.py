"""How monosemantic a layer's values are on held-out samples, whether MEmeL is in it or not.

Training with MEmeL measures the scale of a batch by statistics of the past; here the statistics are
those of the samples that are measured, so that models trained with it and without can be compared.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nowcast.core.memel.masks import FindMask
from nowcast.core.memel.modes import evaluating
from nowcast.core.memel.neurons import RunningStatistics
from nowcast.core.memel.plug import find_sites, passed, plugged
from nowcast.core.memel.scale import INELIGIBLE, compensated, monosemantic_scale
from nowcast.core.monitoring.phi import SUMS, Reading, reading_of, sums_of

ENDLESS = 2**31  # batches: none is forgotten
EPS = 0.01  # of Algorithm 2, Wang et al. 2024


def monosemanticity(
    model: nn.Module,
    sites: Sequence[str],
    dry_run: Callable[[nn.Module], object],
    run: Callable[[nn.Module], None],
    mask: FindMask | None = None,
) -> dict[str, Reading]:
    """``mean_phi``, ``top_phi``, ``tail`` and ``kurtosis`` of each site, see `Reading`.

    Two passes over the samples: one for the mean and variance of each neuron, one for the scale.

    Args:
        model: in evaluation mode while this lasts.
        sites: names or patterns where no MEmeL layers say which; a layer's neurons are its own,
            elsewhere every position after the batch is one.
        dry_run: passes one sample of the greatest size through it.
        run: passes the samples through it, the same at each call.
        mask: as `plug_in` takes it: what is not there is not measured.
    """
    layers = plugged(model)
    names = list(layers) or find_sites(model, sites)
    probes = {name: _Probe(layers[name].neuron_dims if name in layers else None) for name in names}
    with evaluating(model):
        with passed(model, {name: each.prepare for name, each in probes.items()}, mask):
            dry_run(model)
        with passed(model, {name: each.count for name, each in probes.items()}, mask):
            run(model)
        with passed(model, {name: each.measure for name, each in probes.items()}, mask):
            run(model)
        return {name: probe.read() for name, probe in probes.items()}


class _Probe:
    """One site: what its neurons do, and then how far they are from it.

    Each pass of a batch gives back the values that it is given.
    """

    def __init__(self, neuron_dims: tuple[int, ...] | None) -> None:
        self._seen = RunningStatistics(ENDLESS, False, neuron_dims, counts_padding=False)
        self._sums: Tensor | float = 0.0
        self._squares: Tensor | None = None

    def prepare(self, values: Tensor, mask: Tensor | None) -> Tensor:
        self._seen.prepare(values.contiguous(), mask)
        return values

    def count(self, values: Tensor, mask: Tensor | None) -> Tensor:
        samples, present = self._of(values, mask)
        if present is None:
            mean, variance = self._seen.running_mean, self._seen.running_var
            self._seen._merge(samples.flatten(1), mean.view(-1), variance.view(-1))
        else:
            self._seen._merge_present(samples, present)
        return values

    def measure(self, values: Tensor, mask: Tensor | None) -> Tensor:
        samples, present = self._of(values, mask)
        within = tuple(map(slice, samples.shape[1:]))
        mean, variance = self._seen.running_mean[within], self._seen.running_var[within]
        scale = monosemantic_scale(samples, mean, variance, EPS, self._seen.mean_variance())
        squares = scale.double().square_()
        if present is not None:
            scale.masked_fill_(~present, INELIGIBLE)
            squares.masked_fill_(~present, 0.0)
        self._sums += sums_of(scale.flatten(1))
        if self._squares is None:
            self._squares = torch.zeros_like(self._seen.running_mean, dtype=torch.float64)
        self._squares[within] += squares.sum(0)
        return values

    def read(self) -> Reading:
        if self._squares is None:
            return reading_of([0.0] * SUMS, {})
        variance, count = self._seen.running_var.double(), self._seen.num_samples_tracked.double()
        unit = compensated(self._seen.running_var, EPS, self._seen.mean_variance()).double()
        known = ((variance > 0) & (count > 1)).expand_as(variance)
        # Of the fourth moment over the squared variance, both biased.
        kurtosis = self._squares / count * (unit / (variance * (count - 1) / count)) ** 2
        numbers = {"kurtosis": float(kurtosis[known].mean())} if known.any() else {}
        assert isinstance(self._sums, Tensor)
        return reading_of(self._sums.tolist(), numbers)

    def _of(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        values = values.float().contiguous()
        samples, present = self._seen._by_sample(values), self._seen._present(values, mask)
        self._seen._fit(values, samples, present)
        return samples, present
