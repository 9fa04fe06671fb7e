"""MEmeL: in training, find a layer's most monosemantic values and deactivate them in reverse.

Wang et al., Learning from Emergence, KDD 2024 (arXiv 2312.11560). A neuron that rarely leaves its
mean but then leaves it far is monosemantic; its Monosemantic Scale is the squared deviation from
the running mean in units of the running variance (eq. 7). Reversed Deactivation puts the mean in
its place and turns its gradient round, so the network learns to depend on it less.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.compiler import is_compiling

from nowcast.core.distributed import is_shared, sum_over_ranks
from nowcast.core.memory_order import as_matrix, as_samples, as_vector, is_channels_last
from nowcast.core.recompute import keep, replay
from nowcast.core.running import batch_moments, merge

Convention = Literal["paper", "released"]

TINY = torch.finfo(torch.float32).tiny  # the least variance a deviation is measured in
# The chosen neurons, what takes their places, and where it does (None: everywhere).
Edit = tuple[Tensor, Tensor, Tensor | None]

PATIENCE = 10  # calls after `late_start` in which a site must have inhibited something


def monosemantic_scale(
    values: Float[Tensor, "batch *neurons"],
    mean: Float[Tensor, "*neurons"],
    variance: Float[Tensor, "*neurons"],
    eps: float = 0.01,
) -> Float[Tensor, "batch *neurons"]:
    """Monosemantic Scale phi of every value, in float32; range [0, inf], larger: more monosemantic.

    ``phi = (z - mean)^2 / (variance + eps * mean over neurons of variance)``: eq. 7 with the
    variance compensation of Algorithm 2. Where all variances are 0, phi is 0 for values at their
    mean and huge for others, so a constant input scores 0 and not NaN.
    """
    return (values.float() - mean).square_().div_(_compensated(variance, eps))


def _compensated(variance: Tensor, eps: float) -> Tensor:
    return torch.add(variance, variance.mean(), alpha=eps).clamp_min_(TINY)


def most_monosemantic(
    scale: Float[Tensor, "batch *neurons"], top_k: int, channels_last: bool = False
) -> Int[Tensor, "batch {top_k}"]:
    """The `top_k` neurons of largest scale in each sample, the largest first.

    A neuron's number is its place in memory: row-major, or with the first dimension innermost if
    `channels_last`. Of equal scales the neuron that is first in row-major order comes first,
    whatever the memory order. NaN counts as the largest.
    """
    matrix = as_matrix(scale, channels_last)
    return _largest(matrix, scale.shape[1:], top_k, channels_last)


def _largest(scale: Tensor, shape: Sequence[int], top_k: int, channels_last: bool) -> Tensor:
    """`most_monosemantic` of a matrix in memory order."""
    batch, neurons = scale.shape
    if top_k > 1:
        # Scales are not negative, so their bits order as they do; the lower half breaks the ties.
        bits = scale.nan_to_num(nan=math.inf, posinf=math.inf).view(torch.int32).long()
        place = torch.arange(neurons, device=scale.device).view(1, *shape)
        return ((bits << 32) - as_matrix(place, channels_last)).topk(top_k, dim=1).indices
    if len(shape) == 1:
        return scale.argmax(1, keepdim=True)
    # A maximum is vectorised and the search for its place is not, so only one channel is searched.
    if channels_last:
        grid = scale.view(batch, neurons // shape[0], shape[0])
        channel = grid.amax(1).argmax(1, keepdim=True)
        among = grid.gather(2, channel[:, None].expand(-1, grid.shape[1], 1)).argmax(1)
        return torch.add(channel, among, alpha=shape[0])
    grid = scale.view(batch, shape[0], neurons // shape[0])
    channel = grid.amax(2).argmax(1, keepdim=True)
    among = grid.gather(1, channel[:, :, None].expand(-1, 1, grid.shape[2])).argmax(2)
    return torch.add(among, channel, alpha=grid.shape[2])


def inhibit(
    values: Float[Tensor, "batch neurons"],
    mean: Float[Tensor, " neurons"],
    chosen: Int[Tensor, "batch top_k"],
    delta: float = 1.0,
    active: Bool[Tensor, ""] | None = None,
) -> Float[Tensor, "batch neurons"]:
    """Put the mean in the place of the chosen values, with -delta times their gradient.

    ``z' = -delta * z + (mean + delta * z).detach()`` (Reversed Deactivation at delta 1, Naive (a)
    at 0, Naive (b) at -1), with the value equal to the mean to the bit. The result is a new tensor
    of the values' dtype; values that were not chosen pass with value and gradient, and so do
    values that are not finite, which must not be hidden. Where `active` is given and False, all do.
    """
    edit = _edit(values.detach(), mean, chosen, active)
    output: Tensor = _Inhibit.apply(values, *edit, delta, False)  # type: ignore[no-untyped-call]
    return output


def _edit(values: Tensor, mean: Tensor, chosen: Tensor, active: Tensor | None) -> Edit:
    picked = values.gather(1, chosen)
    inhibited = picked.abs() < math.inf
    if active is not None:
        inhibited &= active
    return chosen, torch.where(inhibited, mean[chosen].to(values.dtype), picked), inhibited


class _Inhibit(torch.autograd.Function):
    """Samples with an `Edit` carried out: one pass forwards and one backwards."""

    # Without `setup_context`, for which torch inspects the signature at every call.
    @staticmethod
    def forward(
        ctx: Any,
        samples: Tensor,
        chosen: Tensor,
        replacement: Tensor,
        inhibited: Tensor | None,
        delta: float,
        channels_last: bool,
    ) -> Tensor:
        ctx.save_for_backward(chosen, inhibited)
        ctx.delta, ctx.channels_last = delta, channels_last
        matrix = as_matrix(samples, channels_last).scatter(1, chosen, replacement)
        return as_samples(matrix, samples.shape, channels_last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        chosen, inhibited = ctx.saved_tensors
        matrix = as_matrix(gradient, ctx.channels_last)
        picked = matrix.gather(1, chosen)
        turned = picked * -ctx.delta
        if inhibited is not None:
            turned = torch.where(inhibited, turned, picked)
        matrix = matrix.scatter(1, chosen, turned)
        return as_samples(matrix, gradient.shape, ctx.channels_last), None, None, None, None, None


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
        self.site = ""
        """Its name in the model, for messages; `plug_in` sets it."""
        self.socket: tuple[nn.Module, ...] = ()
        """What was in its place; a tuple, so that it is no child."""
        self.observer: Callable[[Tensor, Tensor], None] | None = None
        """Called in training with every scale ``(batch, *neuron_shape)`` and the chosen neurons."""
        self._unproven = late_start + PATIENCE
        self._changed: Tensor | None = None
        self._look_in = 0
        self._settled = False
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
        self._look_in, self._settled = 0, False
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
        self._look_in, self._settled = 0, False
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
        if edit is None:
            with torch.no_grad():
                edit = self._seen(samples.detach(), channels_last)
            if self.training:
                keep(self, edit)
        output: Tensor = _Inhibit.apply(samples, *edit, self.delta, channels_last)  # type: ignore[no-untyped-call]
        return self._unsampled(output, values)

    def _seen(self, samples: Tensor, channels_last: bool) -> Edit:
        """Look at a new batch: what to replace in it; in training it moves the statistics."""
        self._lay_out(channels_last)
        self._settle()
        mean = as_vector(self.running_mean, channels_last)
        variance = as_vector(self.running_var, channels_last)
        matrix = as_matrix(samples, channels_last)
        exact = matrix.float()
        paper = self.training and self.convention == "paper"
        found = None
        if paper and self._settled and matrix.device.type == "cpu" and not is_compiling():
            found = self._steady(exact, mean, variance, channels_last)
        if found is not None:
            scale, chosen, replacement = found
            edit: Edit = (chosen, replacement.to(matrix.dtype), None)
        else:
            # Decided on the device, without a host synchronisation.
            started = None if self._settled else self.num_batches_tracked >= self.late_start
            if self.training and not paper:
                self._merge(exact, mean, variance)
            scale = monosemantic_scale(exact, mean, variance, self.eps)
            chosen = self._chosen(scale, channels_last)
            edit = _edit(matrix, mean, chosen, started)
            if paper:
                self._merge(exact, mean, variance)
        if self.training and self.observer is not None:
            self.observer(as_samples(scale, samples.shape, channels_last), chosen)
        if self.training and self._unproven and not is_compiling():
            changed = edit[1] != matrix.gather(1, chosen)
            self._prove((changed if edit[2] is None else changed & edit[2]).any())
        return edit

    def _steady(
        self, values: Tensor, mean: Tensor, variance: Tensor, channels_last: bool
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Scale, choice and means of a batch that has no phase before it, and the merged batch.

        The same as the general way where the host need not wait for the device: every operation
        here is called 60 times a step, and costs more than what it computes. The deviations from
        the running mean serve both the scale and the statistics. None, and nothing has moved, if
        the batch is not finite.
        """
        deviations = values - mean
        total = deviations.sum(0)
        scale = deviations.square_()
        squares = scale.sum(0)
        count = len(values)
        if self.sync and is_shared():
            sums = sum_over_ranks(torch.cat((total, squares, total.new_full((1,), count))))
            total, squares, sizes = sums.tensor_split((len(total), 2 * len(total)))
            count = int(sizes)
        if not squares.sum().item() < math.inf:
            return None
        scale.div_(_compensated(variance, self.eps))
        chosen = self._chosen(scale, channels_last)
        replacement = mean[chosen]
        past = self.forget_steps * count
        everything = past + count
        freedom = max(everything - 1, 1)
        variance.mul_((past - 1) / freedom).add_(squares, alpha=1 / freedom)
        variance.addcmul_(total, total, value=-1 / (everything * freedom))
        mean.add_(total, alpha=1 / everything)
        self.num_batches_tracked.add_(1)
        self.num_samples_tracked.add_(count)
        return scale, chosen, replacement

    def _chosen(self, scale: Tensor, channels_last: bool) -> Tensor:
        assert self.neuron_shape is not None
        return _largest(scale, self.neuron_shape, self.top_k, channels_last)

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
        self._lay_out(is_channels_last(samples))

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

    def _lay_out(self, channels_last: bool) -> None:
        """Put the statistics into the memory order of the input, once."""
        if channels_last == is_channels_last(self.running_mean[None]):
            return
        for name in ("running_mean", "running_var"):
            buffer = getattr(self, name)[None]
            matrix = as_matrix(buffer, channels_last).contiguous()
            setattr(self, name, as_samples(matrix, buffer.shape, channels_last)[0])

    def _settle(self) -> None:
        """Once both phases are behind, stop asking the device about them.

        The host looks when the last phase can end at the earliest, so that it takes the same
        arithmetic at the same batch in a run that goes through and in one that was resumed.
        """
        if self._settled or not self.training or is_compiling():
            return
        if not self._look_in:
            self._look_in = max(self.forget_steps, self.late_start) - int(self.num_batches_tracked)
            self._settled = self._look_in <= 0
        self._look_in -= 1

    def _merge(self, values: Tensor, mean: Tensor, variance: Tensor) -> None:
        count, shift, squares = batch_moments(values, mean, self.sync)
        past = self.forget_steps * count
        if not self._settled:
            young = self.num_batches_tracked < self.forget_steps
            past = torch.where(young, self.num_samples_tracked, past).float()
        sound = merge(mean, variance, past, count, shift, squares)
        self.num_batches_tracked.add_(sound.long())
        self.num_samples_tracked.add_((sound * count).long())

    def _prove(self, changed: Tensor) -> None:
        """Warn once if no value has been changed by the time when some should have been."""
        self._changed = changed if self._changed is None else self._changed | changed
        self._unproven -= 1
        if not self._unproven and not self._changed:
            warnings.warn(
                f"MEmeL{self._where()} has inhibited nothing in {self.late_start + PATIENCE} "
                f"training calls, of which {int(self.num_batches_tracked)} were finite: its input "
                "never leaves its mean, or is no number",
                RuntimeWarning,
                stacklevel=2,
            )

    def _where(self) -> str:
        return f" at {self.site}" if self.site else ""
