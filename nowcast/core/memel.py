"""MEmeL: in training, find a layer's most monosemantic values and deactivate them in reverse.

Wang et al., Learning from Emergence, KDD 2024 (arXiv 2312.11560). A neuron that rarely leaves its
mean but then leaves it far is monosemantic; its Monosemantic Scale is the squared deviation from
the running mean in units of the running variance (eq. 7). Reversed Deactivation puts the mean in
its place and turns its gradient round, so the network learns to depend on it less.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from nowcast.core import fused
from nowcast.core.distributed import is_shared
from nowcast.core.memory_order import as_matrix, as_samples, as_vector, is_channels_last
from nowcast.core.recompute import keep, replay
from nowcast.core.running import batch_moments, merge
from nowcast.core.scale import (
    apply_edit,
    inhibit,
    largest,
    monosemantic_scale,
    most_monosemantic,
    proposed_edit,
)

__all__ = ["MEmeL", "inhibit", "monosemantic_scale", "most_monosemantic"]

Convention = Literal["paper", "released"]

PATIENCE = 10  # calls after `late_start` in which a site must have inhibited something


class MEmeL(nn.Module):
    """Monosemanticity-based Emergence Learning as a layer without parameters.

    In training mode each call is one batch: it moves the running statistics and, once `late_start`
    batches have been seen, inhibits in each sample the `top_k` neurons with the largest
    Monosemantic Scale. In evaluation mode it is the identity, unless `in_eval`. A recurrent cell
    that calls it at every time step counts every time step as a batch; so does gradient
    accumulation with every forward call. Activation checkpointing (``use_reentrant=False``) does
    not: a call that is computed again repeats what it did and counts nothing.

    Args:
        neuron_shape: shape of the neurons of one sample. None takes it from the first batch, or
            from the state that is loaded.
        delta: 1 is Reversed Deactivation, 0 Naive (a), -1 Naive (b); the paper tunes 1 to 100.
        top_k: neurons inhibited per sample.
        forget_steps: below this many batches the statistics are the exact mean and unbiased
            variance of everything seen (Lemma 3.2); from there on the past counts as this many
            batches (Algorithm 1).
        late_start: batches seen before the first one in which anything is inhibited.
        eps: weight of the layer's mean variance in the scale.
        convention: ``paper`` scores against the statistics of the past and then updates them;
            ``released`` updates with the current batch first, as the authors' code does.
        in_eval: inhibit in evaluation mode too, with frozen statistics (the paper's "-T" rows).
        sync: over several ranks, take the moments of the union of all ranks' batches.
        neuron_dims: the input's dimensions that make up `neuron_shape`; every position in the
            others is then a sample of its own, e.g. ``(1,)`` takes the channels of an image for
            its neurons, and any height and width. None takes all dimensions after the batch.
        inplace: the layer may write into its input, as ``nn.ReLU(inplace=True)`` does: only where
            neither the input's own backward pass nor anything else needs it. Done on CPU.

    Shape:
        input and output ``(batch, *neuron_shape)`` unless `neuron_dims`, with the same dtype and
        order in memory; statistics are float32.

    A value that is not finite is left as it is, and a batch whose moments are not finite moves no
    statistics and is not counted. That nothing was inhibited is told once, as a RuntimeWarning
    with the layer's `site`.

    Raises:
        ValueError: an argument out of range; an input of another shape while it is active.
        RuntimeError: called inside a backward pass by anything but such a checkpoint.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    num_samples_tracked: Tensor

    def __init__(
        self,
        neuron_shape: tuple[int, ...] | None,
        *,
        delta: float = 1.0,
        top_k: int = 1,
        forget_steps: int = 10,
        late_start: int = 10,
        eps: float = 0.01,
        convention: Convention = "paper",
        in_eval: bool = False,
        sync: bool = True,
        neuron_dims: tuple[int, ...] | None = None,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        if top_k < 1 or forget_steps < 1 or late_start < 1 or eps < 0:
            raise ValueError(
                "top_k, forget_steps and late_start must be at least 1 and eps at least 0; found "
                f"{top_k}, {forget_steps}, {late_start}, {eps}"
            )
        if convention not in get_args(Convention):
            raise ValueError(
                f"convention must be one of {get_args(Convention)}; found {convention}"
            )
        self.delta = delta
        self.top_k = top_k
        self.forget_steps = forget_steps
        self.late_start = late_start
        self.eps = eps
        self.convention = convention
        self.in_eval = in_eval
        self.sync = sync
        self.neuron_dims = neuron_dims
        self.inplace = inplace
        self.site = ""
        """Its name in the model, for messages; `plug_in` sets it."""
        self.socket: tuple[nn.Module, ...] = ()
        """What was in its place; a tuple, so that it is no child."""
        self.observer: Callable[[Tensor | None, Tensor], None] | None = None
        """Called in training with the scale ``(batch, *neuron_shape)`` and the chosen neurons."""
        self.wants_scale = False
        """Whether the observer is given the scale; else it is given None."""
        self._unproven = late_start + PATIENCE
        self._changed: Tensor | bool = False
        self.neuron_shape: tuple[int, ...] | None = None
        empty = torch.zeros(0)
        self.register_buffer("running_mean", empty)
        self.register_buffer("running_var", empty.clone())
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        # Batches may differ in size, and exact statistics need the number of samples behind them.
        self.register_buffer("num_samples_tracked", torch.tensor(0))
        if neuron_shape is not None:
            self._shape(neuron_shape)

    def _shape(self, neuron_shape: tuple[int, ...]) -> None:
        neurons = math.prod(neuron_shape)
        if not neuron_shape or self.top_k > neurons:
            raise ValueError(
                f"top_k must be 1 to {neurons}, the number of neurons; found {self.top_k}"
            )
        self.neuron_shape = tuple(neuron_shape)
        self.running_mean = self.running_mean.new_zeros(neuron_shape)
        self.running_var = self.running_var.new_zeros(neuron_shape)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self.neuron_shape is None and len(state.get(f"{prefix}running_mean", ())):
            self._shape(tuple(state[f"{prefix}running_mean"].shape))
        super()._load_from_state_dict(state, prefix, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "MEmeL":
        """Move with the host, but keep the statistics in float32 whatever dtype the host takes."""
        exact = self.running_mean, self.running_var
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in zip(("running_mean", "running_var"), exact, strict=True):
            moved = getattr(self, name)
            if moved.dtype != torch.float32:
                setattr(self, name, buffer.to(moved.device))
        return self

    def reset_running_stats(self) -> None:
        """Forget everything seen."""
        for buffer in self.buffers():
            buffer.zero_()

    def extra_repr(self) -> str:
        """The settings, as `print(model)` shows them."""
        return (
            f"{self.neuron_shape}, delta={self.delta:g}, top_k={self.top_k}, "
            f"forget_steps={self.forget_steps}, late_start={self.late_start}, "
            f"convention={self.convention!r}"
        )

    def forward(self, values: Tensor) -> Tensor:
        """The values, some of them inhibited; see the class."""
        if not (self.training or self.in_eval):
            return values
        empty = not values.numel()
        if empty and not (self.training and self.sync and is_shared()):
            return values
        samples = self._by_sample(values)
        if samples.shape[1:] != self.neuron_shape:
            self.prepare(values)
        # Channels innermost stay innermost: a copy into another order costs more than all the rest.
        # A rank without samples takes part in the others' sums, in the order that they have too.
        channels_last = is_channels_last(self.running_mean[None] if empty else samples)
        if not channels_last:
            samples = samples.contiguous()
        edit = replay(self) if self.training else None
        if edit is None and self.training and fused.serves(self, samples):
            return self._unsampled(self._fused(samples, channels_last), values)
        if edit is None:
            with torch.no_grad():
                edit = self._seen(samples.detach(), channels_last)
        return self._unsampled(apply_edit(samples, edit, self.delta, channels_last), values)

    def _fused(self, samples: Tensor, channels_last: bool) -> Tensor:
        """A call in training, done at once."""
        self._lay_out(samples, channels_last)
        scale = None
        if self.wants_scale:
            scale = samples.new_empty(samples.shape, dtype=torch.float32).flatten(1)
        output, call = fused.see(self, samples, channels_last, scale)
        chosen = call.chosen
        made = output.detach
        keep(
            self,
            lambda: (chosen, as_matrix(made(), channels_last).gather(1, chosen), call.inhibited),
        )
        if self._unproven or self.observer is not None:
            self._report(samples.shape, channels_last, scale, chosen, call.changed)
        return output

    def _seen(self, samples: Tensor, channels_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """What to replace in a new batch, decided on its device; training moves the statistics."""
        self._lay_out(samples, channels_last)
        mean = as_vector(self.running_mean, channels_last)
        variance = as_vector(self.running_var, channels_last)
        matrix = as_matrix(samples, channels_last)
        exact = matrix.float()
        started = self.num_batches_tracked >= self.late_start
        if self.training and self.convention == "released":
            self._merge(exact, mean, variance)
        scale = monosemantic_scale(exact, mean, variance, self.eps)
        assert self.neuron_shape is not None
        chosen = largest(scale, self.neuron_shape, self.top_k, channels_last)
        edit = proposed_edit(matrix, mean, chosen, started)
        if self.training:
            if self.convention == "paper":
                self._merge(exact, mean, variance)
            keep(self, lambda: edit)
            changed: Tensor | bool = False
            if self._unproven:
                changed = ((edit[1] != matrix.gather(1, chosen)) & edit[2]).any()
            wanted = scale if self.wants_scale else None
            self._report(samples.shape, channels_last, wanted, chosen, changed)
        return edit

    def _report(
        self,
        shape: torch.Size,
        channels_last: bool,
        scale: Tensor | None,
        chosen: Tensor,
        changed: Tensor | bool,
    ) -> None:
        """Tell the observer, and warn once if no value was changed when some should have been."""
        if self.observer is not None:
            given = None if scale is None else as_samples(scale, shape, channels_last)
            self.observer(given, chosen)
        if not self._unproven or is_compiling():
            return
        self._changed = self._changed | changed
        self._unproven -= 1
        if not self._unproven and not self._changed:
            warnings.warn(
                f"MEmeL{self._where()} has inhibited nothing in {self.late_start + PATIENCE} "
                f"training calls, of which {int(self.num_batches_tracked)} were finite: its input "
                "never leaves its mean, or is no number",
                RuntimeWarning,
                stacklevel=2,
            )

    def prepare(self, values: Tensor) -> None:
        """Take shape, device and memory order from an example of the input, and check it.

        Raises:
            ValueError: the shape is known and another.
        """
        samples = self._by_sample(values)
        if self.neuron_shape is None:
            self.to(values.device)._shape(tuple(samples.shape[1:]))
        if samples.shape[1:] != self.neuron_shape:
            raise ValueError(
                f"MEmeL{self._where()} keeps statistics of neurons of shape {self.neuron_shape}; "
                f"found an input {tuple(values.shape)}. Train at the size it was plugged in for, "
                "or set neuron_dims"
            )
        self._lay_out(samples, is_channels_last(samples))

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
        count, shift, squares = batch_moments(values, mean, self.sync)
        young = self.num_batches_tracked < self.forget_steps
        past = torch.where(young, self.num_samples_tracked, self.forget_steps * count).float()
        sound = merge(mean, variance, past, count, shift, squares)
        self.num_batches_tracked.add_(sound.long())
        self.num_samples_tracked.add_((sound * count).long())

    def _where(self) -> str:
        return f" at {self.site}" if self.site else ""
