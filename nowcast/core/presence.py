"""Samples that are only partly there, as sentences padded to one length: MEmeL's call with a mask.

A mask says which values are there. It has the first dimensions of the values, or all, of size 1
where it says the same of all, so ``batch tokens`` serves for ``batch tokens hidden``. A place is
what it tells apart, here a token's, and the layer's counts of batches and samples are of places.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from nowcast.core import running
from nowcast.core.distributed import is_shared, sum_over_ranks
from nowcast.core.memory_order import as_samples, as_vector
from nowcast.core.scale import monosemantic_scale

if TYPE_CHECKING:
    from nowcast.core.memel import MEmeL

ABSENT = -1.0  # the scale of what cannot be chosen


def completed(layer: "MEmeL", values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's input ``batch *neuron_shape``, filled up with absent values where it is smaller.

    Returns:
        the samples; which of their values are there, of size 1 where the mask tells nothing apart.

    Raises:
        ValueError: the mask does not fit the input.
    """
    present = _widened(mask, values)
    if layer.neuron_dims is not None:  # every position in the other dimensions is a sample
        dims = {dim % values.dim() for dim in layer.neuron_dims}
        present = present.expand([-1 if d in dims else n for d, n in enumerate(values.shape)])
    samples, present = layer._by_sample(values), layer._by_sample(present)
    whole = layer.neuron_shape
    if whole is None or len(whole) != samples.dim() - 1:
        return samples, present
    lacking = [
        max(size - own, 0) if known > 1 else 0
        for size, own, known in zip(whole, samples.shape[1:], present.shape[1:], strict=True)
    ]
    if not any(lacking):
        return samples, present
    # Last dimension first; nothing before, and behind what lacks.
    behind = [part for missing in reversed(lacking) for part in (0, missing)]
    return functional.pad(samples, behind), functional.pad(present, behind)


def cut(layer: "MEmeL", samples: Tensor, values: Tensor) -> Tensor:
    """Undo the filling up of `completed`."""
    own = layer._by_sample(values).shape
    return samples if samples.shape == own else samples[tuple(map(slice, own))]


def _widened(mask: Tensor, values: Tensor) -> Tensor:
    shape = tuple(mask.shape) + (1,) * (values.dim() - mask.dim())
    fits = len(shape) == values.dim() and all(
        own in (1, other) for own, other in zip(shape, values.shape, strict=True)
    )
    if not fits or shape[0] != len(values):
        raise ValueError(
            f"expected a mask with the first dimensions of the values {tuple(values.shape)}, "
            f"found {tuple(mask.shape)}"
        )
    return mask.bool().view(shape)


def count_places(layer: "MEmeL", present: Tensor) -> None:
    """Give a layer's counts the dimensions that a mask tells apart, once."""
    own, wanted = layer.num_batches_tracked.shape, present.shape[1:]
    if own == wanted:
        return
    shape = [max(sizes) for sizes in zip(own or wanted, wanted, strict=True)]
    for name in ("num_batches_tracked", "num_samples_tracked"):
        setattr(layer, name, getattr(layer, name).expand(shape).clone())


def scale(
    layer: "MEmeL",
    matrix: Float[Tensor, "batch neurons"],
    there: Bool[Tensor, "batch neurons"],
    channels_last: bool,
    least: int,
) -> Float[Tensor, "batch neurons"]:
    """The Monosemantic Scale; `ABSENT` where a value is not there, or its place has been seen in
    fewer batches than `least`.

    The mean variance in it is over the neurons that have been seen.
    """
    counts = layer.num_batches_tracked
    started = _by_neuron(layer, counts >= least, channels_last)
    seen = _by_neuron(layer, counts > 0, channels_last)
    mean = as_vector(layer.running_mean, channels_last)
    variance = as_vector(layer.running_var, channels_last)
    average = variance.sum() / seen.sum().clamp(min=1)
    found = monosemantic_scale(matrix, mean, variance, layer.eps, average)
    return torch.where(there & started, found, ABSENT)


def merge(
    layer: "MEmeL",
    matrix: Float[Tensor, "batch neurons"],
    there: Bool[Tensor, "batch neurons"],
    channels_last: bool,
) -> None:
    """Merge what is there of a batch into a layer's statistics, and count it."""
    shared = layer.sync and is_shared()

    def total(part: Tensor) -> Tensor:
        return sum_over_ranks(part) if shared else part

    count = total(there.sum(0, dtype=torch.float32))
    often = count.clamp(min=1)
    batch_mean = total(torch.where(there, matrix, 0).sum(0)) / often
    squares = total(torch.where(there, matrix - batch_mean, 0).square_().sum(0))
    past = _by_neuron(layer, layer.num_samples_tracked, channels_last).float()
    young = _by_neuron(layer, layer.num_batches_tracked < layer.forget_steps, channels_last)
    mean = as_vector(layer.running_mean, channels_last)
    variance = as_vector(layer.running_var, channels_last)
    before = mean.clone(), variance.clone()
    past = torch.where(young, past, layer.forget_steps * often)
    sound = running.merge(mean, variance, past, often, batch_mean - mean, squares)
    for statistics, old in zip((mean, variance), before, strict=True):
        statistics.copy_(torch.where(count > 0, statistics, old))  # or a neuron was not there
    counted = sound * _of_places(layer, count, channels_last)
    layer.num_batches_tracked.add_((counted > 0).long())
    layer.num_samples_tracked.add_(counted.long())


def _by_neuron(layer: "MEmeL", places: Tensor, channels_last: bool) -> Tensor:
    """What is known of places, of each neuron in memory order."""
    assert layer.neuron_shape is not None
    return as_vector(places.expand(layer.neuron_shape), channels_last)


def _of_places(layer: "MEmeL", neurons: Tensor, channels_last: bool) -> Tensor:
    """The inverse of `_by_neuron`."""
    assert layer.neuron_shape is not None
    shape = torch.Size((1, *layer.neuron_shape))
    places = as_samples(neurons[None], shape, channels_last)[0]
    return places[tuple(map(slice, layer.num_batches_tracked.shape))]
