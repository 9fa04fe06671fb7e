"""What MEmeL does in a training run, in numbers: a layer without parameters shows nothing itself.

An ordinary step keeps which neurons were picked and counts them many calls at a time: among the
convolutions of a host one small operation costs 15 µs or more, and keeping the picks of a call 2.
A step that will be logged also measures the scale. Only reading waits for the device, and only
reading and saving wait for other ranks.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nowcast.core.memel.fused import YOUNG_CALLS
from nowcast.core.memel.layer import NOTHING, MEmeL
from nowcast.core.memel.memory_order import as_matrix, is_channels_last
from nowcast.core.memel.scale import INELIGIBLE
from nowcast.core.monitoring.phi import LOG10_PHI_EDGES, SUMS, Reading, reading_of, sums_of
from nowcast.core.system.distributed import current, sum_over_ranks

__all__ = ["LOG10_PHI_EDGES", "Monitor", "Reading", "unstarted"]

CALLS_AT_ONCE = 64  # whose picks are counted together


class Monitor:
    """Watches layers from when it is made until `close`; the layers compute what they always do.

    A pick counts from the call on in which its layer inhibits. Over several ranks, readings and
    state are of all of them, and every rank must ask for them.

    Args:
        layers: by site, on their device and with their neurons' shape known.

    Raises:
        ValueError: a layer that has no shape yet, or is watched already.
    """

    def __init__(self, layers: Mapping[str, MEmeL]) -> None:
        self._sites = {name: _Site(name, layer) for name, layer in layers.items()}
        for site in self._sites.values():
            site.layer.observer = site.see

    def arm(self) -> None:
        """Measure the scale from now until `read`: the coming step will be logged."""
        for site in self._sites.values():
            site.measured = torch.zeros_like(site.nothing)
            site.layer.wants_scale = True

    def count(self) -> None:
        """Count the picks kept so far, on the device."""
        for site in self._sites.values():
            site.counted()

    def discard(self) -> None:
        """Forget the picks kept since `count`: of a step that was not done."""
        for site in self._sites.values():
            site.discard()

    def read(self) -> dict[str, Reading]:
        """What every site has done, and since `arm` the scale; waits for device and ranks."""
        return {name: site.read() for name, site in self._sites.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Picks of all ranks by site and neuron, in the memory order of the layer's input."""
        return {name: sum_over_ranks(site.counted().clone()) for name, site in self._sites.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on counting from a state; a site that it does not know stays as it is.

        Raises:
            RuntimeError: a site has another number of neurons.
        """
        for name in self._sites.keys() & state.keys():
            # The state is of all ranks, so one takes it.
            self._sites[name].counted().copy_(state[name] * current().is_main)

    def close(self) -> None:
        """Stop watching."""
        for site in self._sites.values():
            site.counted()
            site.layer.observer, site.layer.wants_scale = None, False


class _Site:
    """The watcher of one layer, and what it has gathered on the layer's device."""

    def __init__(self, name: str, layer: MEmeL) -> None:
        if layer.neuron_shape is None or layer.observer is not None:
            fault = "not known its neurons' shape" if layer.observer is None else "an observer"
            raise ValueError(
                f"MEmeL at {name} has {fault}; plug in with a dry_run, and close another monitor"
            )
        device = layer.num_batches_tracked.device
        self.layer = layer
        self._picks = torch.zeros(math.prod(layer.neuron_shape), dtype=torch.int64, device=device)
        self.measured: Tensor | None = None
        self.nothing = torch.zeros(SUMS, dtype=torch.float64, device=device)
        self._waiting: list[Tensor] = []

    def see(self, scale: Tensor | None, chosen: Tensor) -> None:
        if chosen.dtype is torch.bool:
            self._picks += chosen.sum(0)
        elif chosen.dim() == 1:
            self._picks += torch.bincount(chosen, minlength=len(self._picks))
        else:
            self._wait(chosen)
        if self.measured is not None and scale is not None and scale.numel():
            old = self.layer.num_batches_tracked > YOUNG_CALLS
            if old.dim():
                old = old[tuple(map(slice, scale.shape[1:]))]  # of as many places as the batch has
            known = torch.where(old, scale, INELIGIBLE)
            self.measured += sums_of(as_matrix(known, is_channels_last(known)))

    def _wait(self, chosen: Tensor) -> None:
        if self._waiting and self._waiting[0].shape != chosen.shape:
            self.counted()
        self._waiting.append(chosen)
        if len(self._waiting) == CALLS_AT_ONCE:
            self.counted()

    def discard(self) -> None:
        self._waiting.clear()

    def counted(self) -> Tensor:
        """Picks by neuron, up to the last call."""
        if self._waiting:
            chosen = torch.stack(self._waiting)
            self._waiting.clear()
            # Decided on the device. The layer has counted the batch of the last call, one less
            # before each earlier one, and inhibits after `late_start`.
            weights = chosen != NOTHING
            if not self.layer.num_batches_tracked.dim():  # else it has chosen by place already
                earlier = torch.arange(len(chosen) - 1, -1, -1, device=chosen.device)
                inhibits = self.layer.num_batches_tracked - earlier > self.layer.late_start
                weights = weights & inhibits.view(-1, 1, 1)
            places = chosen.clamp(min=0).view(-1)
            self._picks.scatter_add_(0, places, weights.long().view(-1))
        return self._picks

    def read(self) -> Reading:
        measured = self.nothing if self.measured is None else self.measured
        self.measured = None
        self.layer.wants_scale = False
        everything = sum_over_ranks(torch.cat((self.counted().double(), measured)))
        picks, measured = everything.tensor_split((len(self._picks),))
        total = picks.sum()
        shares = picks[picks > 0] / total
        numbers = {"fraction_inhibited": len(shares) / len(picks)}
        if len(shares) and len(picks) > 1:
            entropy = float(torch.special.entr(shares).sum()) / math.log(len(picks))
            numbers["pick_entropy"] = min(max(entropy, 0.0), 1.0)  # rounding goes a little beyond
        return reading_of(measured.tolist(), numbers)


def unstarted(layers: Mapping[str, MEmeL]) -> list[str]:
    """Layers that have not come to inhibit, e.g. at the end of their training, and why."""
    for layer in layers.values():
        layer.settle()
    seen = {name: int(layer.num_batches_tracked.max()) for name, layer in layers.items()}
    return [
        f"{name} ({seen[name]} batches seen, late_start {layer.late_start})"
        for name, layer in layers.items()
        if seen[name] <= layer.late_start
    ]
