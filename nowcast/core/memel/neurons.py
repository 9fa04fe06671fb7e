"""What a layer has seen of its neurons, and which of an input's values are samples of them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from nowcast.core.memel.masks import aligned, fits, place_shape
from nowcast.core.memel.memory_order import as_matrix, as_samples, as_vector, is_channels_last
from nowcast.core.memel.moments import (
    Count,
    batch_moments,
    merge,
    of_all_ranks,
    present_moments,
    summable,
)
from nowcast.core.system.distributed import SumUnderWay, is_shared, sum_over_ranks


class RunningStatistics(nn.Module):
    """What a layer has seen of its neurons, in buffers.

    The counts are one number each, until masks tell places apart: then every place has its own,
    and they broadcast to the shape of the neurons, e.g. ``(tokens, 1)`` to ``(tokens, hidden)``.

    Args:
        forget_steps: batches that the past counts as, once there are as many.
        sync: over several ranks, take the moments of the union of all ranks' batches.
        neuron_dims: the input's dimensions that make up the neurons; None for all after the batch.
        counts_padding: whether what a mask leaves out is seen all the same.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    num_samples_tracked: Tensor

    def __init__(
        self,
        forget_steps: int,
        sync: bool,
        neuron_dims: tuple[int, ...] | None,
        counts_padding: bool,
    ) -> None:
        super().__init__()
        self.forget_steps = forget_steps
        self.sync = sync
        self.neuron_dims = neuron_dims
        self.counts_padding = counts_padding
        self.site = ""
        """Its name in the model, for messages; `plug_in` sets it."""
        self.neuron_shape: tuple[int, ...] | None = None
        self._unsettled: Callable[[], None] | None = None
        empty = torch.zeros(0)
        self.register_buffer("running_mean", empty)
        self.register_buffer("running_var", empty.clone())
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        # Batches may differ in size, and exact statistics need the number of samples behind them.
        self.register_buffer("num_samples_tracked", torch.tensor(0))

    @torch.no_grad()
    def settle(self) -> None:
        """Count the last batch, where ranks were still adding up its moments.

        Done before the next batch, on a change between training and evaluation, and before the
        state is saved, loaded or moved; to be called before the buffers are read in between.
        """
        unsettled, self._unsettled = self._unsettled, None
        if unsettled is not None:
            unsettled()

    def later(self, what: Callable[[], None]) -> None:
        """Have something done by the next `settle`, after what waits for it already."""
        before = self._unsettled

        def both() -> None:
            if before is not None:
                before()
            what()

        self._unsettled = both

    def train(self, mode: bool = True) -> "RunningStatistics":
        """As of any module."""
        self.settle()
        return super().train(mode)

    def _save_to_state_dict(self, *where: Any) -> None:
        self.settle()
        super()._save_to_state_dict(*where)

    def reset_running_stats(self) -> None:
        """Forget everything seen."""
        self.settle()
        for buffer in self.buffers():
            buffer.zero_()

    def mean_variance(self) -> Tensor:
        """The mean variance of the neurons that have been seen."""
        seen = (self.num_batches_tracked > 0).expand_as(self.running_var)
        return self.running_var.sum() / seen.sum().clamp(min=1)  # what was not seen has none

    def prepare(self, values: Tensor, mask: Tensor | None = None) -> None:
        """Take shape, device and memory order from an example of the input, and check it.

        Raises:
            ValueError: the shape is known and another, or the mask is none of these values.
        """
        samples = self._by_sample(values)
        self._fit(values, samples, self._present(values, mask))
        self._lay_out(samples, is_channels_last(samples))

    def _present(self, values: Tensor, mask: Tensor | None) -> Tensor | None:
        """The mask by sample; None where there is none, and one count serves all neurons."""
        if mask is not None and not self.counts_padding:
            try:
                return self._by_sample(aligned(mask, values, self.neuron_dims))
            except ValueError as error:
                raise ValueError(f"MEmeL{self._where()}: {error}") from error
        counted = self._buffers["num_batches_tracked"]
        assert counted is not None
        if not counted.dim():
            return None
        everywhere = torch.ones((), dtype=torch.bool, device=values.device)
        return everywhere.expand(len(self._by_sample(values)), *counted.shape)

    def _fit(self, values: Tensor, samples: Tensor, present: Tensor | None) -> None:
        """Take the neurons' shape from the first input, or hold the input against it."""
        if self.neuron_shape is None:
            self.to(values.device)._shape(tuple(samples.shape[1:]))
        assert self.neuron_shape is not None
        if samples.shape[1:] != self.neuron_shape and (
            present is None or not fits(samples, present, self.neuron_shape)
        ):
            raise ValueError(
                f"MEmeL{self._where()} keeps statistics of neurons of shape {self.neuron_shape}; "
                f"found an input {tuple(values.shape)}. Train at the size it was plugged in for, "
                "set neuron_dims, or give a mask with what is shorter"
            )
        if present is not None:
            self._count_places(place_shape(samples, present, self.neuron_shape))

    def _by_sample(self, values: Tensor) -> Tensor:
        """The input as ``(batch, *neuron_shape)``, a view where its memory order allows."""
        if self.neuron_dims is None:
            return values
        last = tuple(range(-len(self.neuron_dims), 0))
        return values.movedim(self.neuron_dims, last).flatten(0, last[0] - 1)

    def _unsampled(self, output: Tensor, values: Tensor) -> Tensor:
        """Undo `_by_sample`: the output in the shape of the input."""
        if self.neuron_dims is None:
            return output
        last = tuple(range(-len(self.neuron_dims), 0))
        moved = values.movedim(self.neuron_dims, last)
        return output.view(moved.shape).movedim(last, self.neuron_dims)

    def _where(self) -> str:
        return f" at {self.site}" if self.site else ""

    def _shape(self, neuron_shape: tuple[int, ...]) -> None:
        self.neuron_shape = tuple(neuron_shape)
        self.running_mean = self.running_mean.new_zeros(neuron_shape)
        self.running_var = self.running_var.new_zeros(neuron_shape)

    def _count_places(self, places: tuple[int, ...]) -> None:
        """Give every place counts of its own; `places` broadcasts to the neurons."""
        if math.prod(places) == 1:
            return
        counted = self.num_batches_tracked.shape or (1,) * len(places)
        wanted = tuple(map(max, counted, places))
        if self.num_batches_tracked.shape == wanted:
            return
        for name in ("num_batches_tracked", "num_samples_tracked"):
            setattr(self, name, getattr(self, name).expand(wanted).clone())

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.settle()
        if self.neuron_shape is None and len(state.get(f"{prefix}running_mean", ())):
            self._shape(tuple(state[f"{prefix}running_mean"].shape))
        for name in ("num_batches_tracked", "num_samples_tracked"):
            own, count = getattr(self, name), state.get(f"{prefix}{name}")
            if count is None or count.shape == own.shape:
                continue
            if _are_places(count.shape, self.running_mean.shape):
                setattr(self, name, own.new_zeros(count.shape))
        super()._load_from_state_dict(state, prefix, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RunningStatistics":
        """Move with the host, but keep the statistics in float32 whatever dtype the host takes."""
        self.settle()
        exact = {name: x for name, x in self.named_buffers() if x.is_floating_point()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in exact.items():
            moved = getattr(self, name)
            if moved.dtype != torch.float32:
                setattr(self, name, buffer.to(moved.device))
        return self

    def _lay_out(self, samples: Tensor, channels_last: bool) -> None:
        """Put the statistics into the memory order of the input, once."""
        if self.running_mean.stride() == self.running_var.stride() == samples.stride()[1:]:
            return
        for name in ("running_mean", "running_var"):
            buffer = getattr(self, name)[None]
            if is_channels_last(buffer) if channels_last else buffer.is_contiguous():
                continue  # it differs only in the stride of a dimension of size 1
            matrix = as_matrix(buffer, channels_last).contiguous()
            setattr(self, name, as_samples(matrix, buffer.shape, channels_last)[0])

    def _merge(self, values: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Count a batch; all in memory order, and mean and variance views of the buffers.

        Over several ranks it is counted by the next `settle`: nothing waits for the others here.
        """
        if not (self.sync and is_shared()):
            self._count(mean, variance, *batch_moments(values, mean))
            return
        moments = summable(values, mean)
        if is_compiling():
            self._count(mean, variance, *of_all_ranks(sum_over_ranks(moments)))
            return
        under_way = SumUnderWay(moments)
        self.later(lambda: self._count(mean, variance, *of_all_ranks(under_way.wait())))

    def count_in_order(self, moments: Tensor) -> None:
        """Count the sum of all ranks' `summable` of a batch, in the memory order of the buffers."""
        channels_last = is_channels_last(self.running_mean[None])
        mean, variance = (
            as_vector(buffer, channels_last) for buffer in (self.running_mean, self.running_var)
        )
        self._count(mean, variance, *of_all_ranks(moments))

    def _count(
        self, mean: Tensor, variance: Tensor, count: Count, shift: Tensor, squares: Tensor
    ) -> None:
        young = self.num_batches_tracked < self.forget_steps
        past = torch.where(young, self.num_samples_tracked, self.forget_steps * count).float()
        sound = merge(mean, variance, past, count, shift, squares)
        self.num_batches_tracked.add_(sound.long())
        self.num_samples_tracked.add_((sound * count).long())

    def _merge_present(self, values: Tensor, present: Tensor) -> None:
        """Count what is present of a batch ``batch *neurons``, which may be a shorter one."""
        seen = self.num_samples_tracked
        count, shift, squares = present_moments(
            values, present, self.running_mean, seen.shape, self.sync
        )
        young = self.num_batches_tracked < self.forget_steps
        past = torch.where(young, seen, self.forget_steps * count)
        # All of its past, and neither shift nor squares, leave a place without samples as it is.
        past = torch.where(count > 0, past, seen.clamp(min=1)).float()
        sound = merge(self.running_mean, self.running_var, past, count, shift, squares).long()
        self.num_batches_tracked.add_(sound * (count > 0))
        self.num_samples_tracked.add_(sound * count)


def _are_places(shape: torch.Size, neurons: torch.Size) -> bool:
    """Whether counts may have this shape: none, or that of the neurons with some sizes 1."""
    pairs = zip(shape, neurons, strict=False)
    return len(shape) in (0, len(neurons)) and all(size in (1, whole) for size, whole in pairs)
