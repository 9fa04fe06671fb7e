"""Samples as a matrix in the order they lie in memory, and back: nothing is copied on the way.

A copy of an activation into another order costs more than all that MEmeL does with it, and leaves
the layers behind it with the slower order. Two orders are known: row-major, and `channels_last`,
where the first dimension after the batch is the innermost.
"""

import torch
from torch import Tensor


def is_channels_last(samples: Tensor) -> bool:
    """Whether ``batch first *rest`` lies in memory as ``batch *rest first``."""
    if samples.is_contiguous():
        return False
    if samples.dim() == 4:  # the same, in one call
        return samples.is_contiguous(memory_format=torch.channels_last)
    return samples.permute(0, *range(2, samples.dim()), 1).is_contiguous()


def as_matrix(samples: Tensor, channels_last: bool) -> Tensor:
    """``batch *neurons`` as ``batch neurons``; a view where the order is as said, else a copy."""
    if channels_last:
        samples = samples.permute(0, *range(2, samples.dim()), 1)
    return samples.flatten(1)


def as_vector(neurons: Tensor, channels_last: bool) -> Tensor:
    """``*neurons`` as ``neurons``, in the order of `as_matrix`."""
    if channels_last:
        neurons = neurons.permute(*range(1, neurons.dim()), 0)
    return neurons.reshape(-1)


def as_samples(matrix: Tensor, shape: torch.Size, channels_last: bool) -> Tensor:
    """A view of a matrix as samples of a shape: the inverse of `as_matrix`."""
    if not channels_last:
        return matrix.view(shape)
    return matrix.view(shape[0], *shape[2:], shape[1]).permute(0, -1, *range(1, len(shape) - 1))
