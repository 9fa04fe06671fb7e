"""Method ``sham``: random neurons in the same number, deactivated as ``memel`` does it.

The control for noise of the same size: if it helps as much, monosemanticity has no part in it.
"""

import math
import zlib

import torch
from torch import Tensor

from nowcast.core.memel.fused import Inhibiting
from nowcast.core.memel.memory_order import as_samples
from nowcast.core.memel.methods.method import Decision, Done, Scored
from nowcast.core.memel.methods.top_k import TopK, deactivated, done_in_c
from nowcast.core.system.distributed import current


class Sham(TopK):
    """`top_k` neurons of each sample, whatever their values.

    The draw is stratified: a sample's neurons, turned by a random amount, are cut into `top_k`
    equal parts, and one is drawn of each; so there are just `top_k` and all are as likely. It is a
    function of the seed (torch's when the layer was made, in `state_dict`), the site, the batches
    seen and the sample's number in the union of all ranks' batches, where rank r of N has every
    N-th from r on. So nothing draws from torch's generators, N ranks equal one process, and a
    resumed run goes on to the bit. In evaluation all samples lose the same neurons, so that an
    answer does not depend on its batch.
    """

    def equip(self, layer: Inhibiting) -> None:
        """Keep the seed."""
        seed = torch.initial_seed() & (2**63 - 1)
        layer.register_buffer("seed", torch.tensor(seed, dtype=torch.int64))

    def decide(self, layer: Inhibiting, scored: Scored) -> Decision:
        """As of any method."""
        batch, neurons = scored.scale.shape
        top_k = min(layer.top_k, neurons)
        random = draws(layer, batch, scored.per_example, top_k + 1)
        shape, channels_last = scored.shape, scored.channels_last
        if not scored.masked:
            chosen = _place(strata(random, _everywhere(random, neurons)), shape, channels_last)
            return deactivated(scored, chosen, scored.started)
        # Of what may be chosen, by its rank.
        ranks = as_samples(scored.started, torch.Size(shape), channels_last).flatten(1).cumsum(1)
        there = ranks[:, -1:]
        order = strata(random, there.clamp(min=1))
        chosen = torch.searchsorted(ranks, order + 1).clamp(max=neurons - 1)
        chosen = _place(chosen, shape, channels_last)
        enough = torch.arange(top_k, device=chosen.device) < there
        return deactivated(scored, chosen, enough & scored.started.gather(1, chosen))

    def at_once(
        self,
        layer: Inhibiting,
        samples: Tensor,
        channels_last: bool,
        per_example: int,
        scale: Tensor | None,
    ) -> Done:
        """As of any method."""
        batch, neurons = len(samples), layer.running_mean.numel()
        random = draws(layer, batch, per_example, layer.top_k + 1)
        chosen = strata(random, _everywhere(random, neurons))
        chosen = _place(chosen, tuple(samples.shape), channels_last)
        return done_in_c(layer, samples, channels_last, scale, chosen)


def _everywhere(random: Tensor, neurons: int) -> Tensor:
    """All neurons for each sample, filled on the device: nothing is copied to it."""
    return torch.full((len(random), 1), neurons, device=random.device)


def _place(numbers: Tensor, shape: tuple[int, ...], channels_last: bool) -> Tensor:
    """Neurons by their place in memory from their row-major numbers, which it does not change."""
    if not channels_last:
        return numbers
    channels, positions = shape[1], math.prod(shape[2:])
    return numbers % positions * channels + numbers // positions


def draws(layer: Inhibiting, batch: int, per_example: int, count: int) -> Tensor:
    """``batch count`` random numbers from 0 to 2^63 - 1, see `Sham`."""
    seed: Tensor = layer.get_buffer("seed")
    calls = layer.num_batches_tracked
    calls = calls.max() if calls.dim() else calls
    number = torch.arange(batch, device=seed.device)
    if layer.training:
        ranks = current()
        example = number // per_example * ranks.size + ranks.rank
        number = example * per_example + number % per_example
    else:
        number = torch.zeros_like(number)
    start = mixed(mixed(seed + _salt(layer.site)) + calls)
    lanes = torch.arange(count, device=seed.device)
    return mixed(mixed(start + number)[:, None] + lanes) & (2**63 - 1)


def _salt(site: str) -> int:
    return zlib.crc32(site.encode())


# What `torch.compiler.assume_constant_result` does, but that imports the compiler: 1.2 s for all
# who compile nothing.
_salt._dynamo_marked_constant = True  # type: ignore[attr-defined]


def mixed(numbers: Tensor) -> Tensor:
    """The output function of SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195) on
    int64, whose products wrap around."""
    numbers = numbers + -0x61C8864680B583EB
    numbers = (numbers ^ ((numbers >> 30) & (2**34 - 1))) * -0x40A7B892E31B1A47
    numbers = (numbers ^ ((numbers >> 27) & (2**37 - 1))) * -0x6B2FB644ECCEEE15
    return numbers ^ ((numbers >> 31) & (2**33 - 1))


def strata(random: Tensor, neurons: Tensor) -> Tensor:
    """Distinct numbers below `neurons` (``batch 1``), one less a row than there are random ones;
    where a row has fewer neurons than that, as many as it has, and then any."""
    count = random.shape[1] - 1
    wanted = neurons.clamp(max=count)
    place = torch.arange(count, device=random.device).minimum(wanted - 1)
    low, high = place * neurons // wanted, (place + 1) * neurons // wanted
    return (low + random[:, 1:] % (high - low) + random[:, :1] % neurons) % neurons
