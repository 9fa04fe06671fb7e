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

from nowcast.core.memel import fused
from nowcast.core.memel.memory_order import as_matrix, as_samples, as_vector, is_channels_last
from nowcast.core.memel.methods import METHODS
from nowcast.core.memel.methods.method import NOTHING, Scored
from nowcast.core.memel.recompute import keep, replay
from nowcast.core.memel.scale import (
    INELIGIBLE,
    inhibit,
    monosemantic_scale,
    most_monosemantic,
)
from nowcast.core.system.distributed import is_shared

__all__ = ["NOTHING", "MEmeL", "inhibit", "monosemantic_scale", "most_monosemantic"]

Convention = Literal["paper", "released"]
MethodName = Literal["memel", "share", "penalty", "opposite", "sham"]

PATIENCE = 10  # calls after `late_start` in which a site must have inhibited something


class MEmeL(fused.Inhibiting):
    """Monosemanticity-based Emergence Learning as a layer without parameters.

    In training mode each call is one batch: it moves the running statistics and, once `late_start`
    batches have been seen, inhibits in each sample the `top_k` neurons with the largest
    Monosemantic Scale. In evaluation mode it is the identity, unless `in_eval`. A recurrent cell
    that calls it at every time step counts every time step as a batch; so does gradient
    accumulation with every part of a batch, so that `late_start` and `forget_steps` are reached in
    fewer steps and on fewer samples. Activation checkpointing (``use_reentrant=False``) does
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
            ``released`` updates with the current batch first, and takes padding for samples,
            whatever the mask, as the authors' code does.
        in_eval: inhibit in evaluation mode too, with frozen statistics (the paper's "-T" rows).
        sync: over several ranks, take the moments of the union of all ranks' batches.
        neuron_dims: the input's dimensions that make up `neuron_shape`; every position in the
            others is then a sample of its own, e.g. ``(1,)`` takes the channels of an image for
            its neurons, and any height and width. None takes all dimensions after the batch.
        method: which values are acted on, and how; each is a module of `memel.methods` that says
            where it comes from. ``memel``: the `top_k` of each sample, Reversed Deactivation (Wang
            et al. 2024). ``share``: the same for a `share` of all values (Wang et al. 2025, arXiv
            2503.23298). ``penalty``: those values stay, and the logarithm of their scale joins the
            loss (the same). Controls: ``opposite``, the penalty with the other sign; ``sham``,
            `top_k` random neurons of each sample, Reversed Deactivation.
        share: of all values, for share, penalty and opposite. Their threshold is that of the
            batches before, in both conventions.
        penalty_weight: of the term that penalty adds to the loss and opposite subtracts; see
            `memel.methods.penalty`.
        inplace: the layer may write into its input, as ``nn.ReLU(inplace=True)`` does: only where
            neither the input's own backward pass nor anything else needs it. Done where the call
            is C or Triton.

    Shape:
        input and output ``(batch, *neuron_shape)`` unless `neuron_dims`, with the same dtype and
        order in memory; statistics are float32.

    A mask makes it a layer for padded sequences: every place along the mask's dimensions then has
    its own count of samples and batches, so its own `forget_steps` and `late_start`, and is chosen
    only where it is present. Over several ranks all must give a mask, or none.

    A value that is not finite is left as it is, and a batch whose moments are not finite moves no
    statistics and is not counted. That nothing was inhibited is told once, as a RuntimeWarning
    with the layer's `site`.

    Raises:
        ValueError: an argument out of range, or `in_eval` of a penalty; an input of another shape,
            or a mask of another input, while it is active.
        RuntimeError: called inside a backward pass by anything but such a checkpoint.
    """

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
        method: MethodName = "memel",
        share: float = 0.02,
        penalty_weight: float = 0.01,
        inplace: bool = False,
    ) -> None:
        super().__init__(forget_steps, sync, neuron_dims, counts_padding=convention == "released")
        if top_k < 1 or forget_steps < 1 or late_start < 1 or eps < 0:
            raise ValueError(
                "top_k, forget_steps and late_start must be at least 1 and eps at least 0; found "
                f"{top_k}, {forget_steps}, {late_start}, {eps}"
            )
        if convention not in get_args(Convention):
            raise ValueError(
                f"convention must be one of {get_args(Convention)}; found {convention}"
            )
        if method not in METHODS:
            raise ValueError(f"method must be one of {tuple(METHODS)}; found {method}")
        if not 0 < share < 1 or not 0 < penalty_weight < math.inf:
            raise ValueError(
                "share must lie between 0 and 1 and penalty_weight above 0; found "
                f"{share}, {penalty_weight}"
            )
        if in_eval and not METHODS[method].changes_values:
            raise ValueError(
                f"in_eval: method {method} changes no value, so evaluation is without it anyway; "
                "leave in_eval out"
            )
        self.delta = delta
        self.top_k = top_k
        self.late_start = late_start
        self.eps = eps
        self.convention = convention
        self.in_eval = in_eval
        self.method = method
        self.share = share
        self.penalty_weight = penalty_weight
        self.inplace = inplace
        self.socket: tuple[nn.Module, ...] = ()
        """What was in its place; a tuple, so that it is no child."""
        self.observer: Callable[[Tensor | None, Tensor], None] | None = None
        """Called in training with the scale, in the shape of the samples and `INELIGIBLE` where
        masked out, and the picks: ``batch top_k`` neurons, `NOTHING` for those that a mask has left
        too few of; or, of methods whose number varies, all of them in a row, or a bool matrix
        ``batch neurons`` of them. Neurons are numbered by their place in memory."""
        self.wants_scale = False
        """Whether the observer is given the scale; else it is given None."""
        self._unproven = late_start + PATIENCE
        self._changed: Tensor | bool = False
        METHODS[method].equip(self)
        if neuron_shape is not None:
            self._shape(neuron_shape)

    def _shape(self, neuron_shape: tuple[int, ...]) -> None:
        neurons = math.prod(neuron_shape)
        if not neuron_shape or self.top_k > neurons:
            raise ValueError(
                f"top_k must be 1 to {neurons}, the number of neurons; found {self.top_k}"
            )
        super()._shape(neuron_shape)

    @property
    def is_proven(self) -> bool:
        """Whether it has inhibited something, or has said that it has not: until then calls keep
        count on the host."""
        return not self._unproven

    def reset_running_stats(self) -> None:
        """Forget everything seen."""
        super().reset_running_stats()
        device = self.num_batches_tracked.device
        METHODS[self.method].equip(self)
        self.to(device)

    def extra_repr(self) -> str:
        """The settings, as `print(model)` shows them."""
        return (
            f"{self.neuron_shape}, method={self.method!r}, delta={self.delta:g}, "
            f"top_k={self.top_k}, share={self.share:g}, forget_steps={self.forget_steps}, "
            f"late_start={self.late_start}, convention={self.convention!r}"
        )

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """The values, some of them inhibited; see the class.

        Args:
            values: with `neuron_shape`, or shorter in dimensions that `mask` has: what is missing
                at their ends is absent.
            mask: bool, or 0 and 1: True where `values`, whose leading dimensions it has, are
                present. What is absent is no sample of its neurons, and passes untouched.
        """
        if not (self.training or self.in_eval):
            return values
        if self._unsettled is not None:
            self.settle()
        empty = not values.numel()
        if empty and not (self.training and self.sync and is_shared()):
            return values
        samples = self._by_sample(values)
        method = METHODS[self.method]
        kept = replay(self)  # which has no need of the mask, that is not given again
        present = self._present(values, mask) if kept is None else None
        if kept is None and (present is not None or samples.shape[1:] != self.neuron_shape):
            self._fit(values, samples, present)
        # Channels innermost stay innermost: a copy into another order costs more than all the rest.
        # A rank without samples takes part in the others' sums, in the order that they have too.
        channels_last = is_channels_last(self.running_mean[None] if empty else samples)
        if not channels_last:
            samples = samples.contiguous()
        if kept is None:
            self._lay_out(samples, channels_last)
            per_example = max(len(samples) // max(len(values), 1), 1)
            if present is None and self.training and fused.serves(self, samples):
                return self._unsampled(self._at_once(samples, channels_last, per_example), values)
            with torch.no_grad():
                kept = self._decided(samples.detach(), present, channels_last, per_example)
        return self._unsampled(method.apply(self, samples, kept, channels_last), values)

    def _at_once(self, samples: Tensor, channels_last: bool, per_example: int) -> Tensor:
        """A call in training, done in C or Triton."""
        scale = None
        if self.wants_scale:
            scale = samples.new_empty(samples.shape, dtype=torch.float32).flatten(1)
        done = METHODS[self.method].at_once(self, samples, channels_last, per_example, scale)
        keep(self, done.kept)
        if self._unproven or self.observer is not None:
            given = None if scale is None else as_samples(scale, samples.shape, channels_last)
            picks = None if self.observer is None else done.picks()
            self._report(given, picks, done.changed)
        return done.output

    def _decided(
        self, samples: Tensor, present: Tensor | None, channels_last: bool, per_example: int
    ) -> tuple[Any, ...]:
        """What to do with a new batch, decided on its device; training moves the statistics."""
        released = self.convention == "released"
        calls = self.num_batches_tracked.clone() if released else self.num_batches_tracked
        if self.training and released:
            self._count_batch(samples, present, channels_last)
            self.settle()
        scored, scale = self._scored(samples, present, calls, channels_last, per_example)
        decision = METHODS[self.method].decide(self, scored)
        if self.training and not released:
            self._count_batch(samples, present, channels_last)
        keep(self, lambda: decision.kept)
        if self.training:
            picks = decision.picks
            if present is not None and self.observer is not None:
                picks = self._of_all(picks, samples, channels_last)
            self._report(scale, picks, decision.changed)
        return decision.kept

    def _count_batch(self, samples: Tensor, present: Tensor | None, channels_last: bool) -> None:
        exact = samples.float()
        if present is not None:
            self._merge_present(exact, present)
            return
        mean = as_vector(self.running_mean, channels_last)
        variance = as_vector(self.running_var, channels_last)
        self._merge(as_matrix(exact, channels_last), mean, variance)

    def _scored(
        self,
        samples: Tensor,
        present: Tensor | None,
        calls: Tensor,
        channels_last: bool,
        per_example: int,
    ) -> tuple[Scored, Tensor | None]:
        """A batch for the method, by what had been seen before `calls`; and its scale, if the
        observer wants it."""
        started, known = calls >= self.late_start, calls >= fused.YOUNG_CALLS
        matrix = as_matrix(samples, channels_last)
        if present is None:
            mean = as_vector(self.running_mean, channels_last)
            variance = as_vector(self.running_var, channels_last)
            scale = monosemantic_scale(matrix, mean, variance, self.eps)
            wanted = as_samples(scale, samples.shape, channels_last) if self.wants_scale else None
        else:
            # Places may differ in what has been seen, and a batch may have fewer of them.
            within = tuple(map(slice, samples.shape[1:]))
            if started.dim():
                started, known = started[within], known[within]
            average, variance = self.mean_variance(), self.running_var[within]
            found = monosemantic_scale(
                samples, self.running_mean[within], variance, self.eps, average
            )
            wanted = found.masked_fill(~present, INELIGIBLE) if self.wants_scale else None
            scale = as_matrix(found, channels_last)
            mean = as_vector(self.running_mean[within], channels_last)
            present, started, known = (
                as_matrix(part.expand(samples.shape), channels_last)
                for part in (present, present & started, present & known)
            )
        scored = Scored(
            values=matrix,
            mean=mean,
            scale=scale,
            started=started,
            present=present,
            known=known,
            calls=calls,
            shape=tuple(samples.shape),
            channels_last=channels_last,
            per_example=per_example,
            proving=bool(self._unproven) and self.training,
        )
        return scored, wanted

    def _of_all(self, picks: Tensor, samples: Tensor, channels_last: bool) -> Tensor:
        """Picks among the neurons of a batch, of which a shorter one has fewer, as those of all."""
        within = tuple(map(slice, samples.shape[1:]))
        numbers = torch.arange(self.running_mean.numel(), device=samples.device)[None]
        numbers = as_samples(numbers, self.running_mean[None].shape, channels_last)[0][within]
        places = as_vector(numbers, channels_last)
        if picks.dtype is torch.bool:
            return picks.new_zeros(len(picks), self.running_mean.numel()).index_copy(
                1, places, picks
            )
        return torch.where(picks == NOTHING, NOTHING, places[picks.clamp(min=0)])

    def _report(self, scale: Tensor | None, chosen: Tensor | None, changed: Tensor | bool) -> None:
        """Tell the observer, and warn once if no value was changed when some should have been."""
        if self.observer is not None and chosen is not None:
            self.settle()  # it may read the counts
            self.observer(scale, chosen)
        if not self._unproven or is_compiling():
            return
        self._changed = self._changed | (changed if isinstance(changed, bool) else changed.any())
        self._unproven -= 1
        if not self._unproven and not self._changed:
            self.settle()
            warnings.warn(
                f"MEmeL{self._where()} has inhibited nothing in {self.late_start + PATIENCE} "
                f"training calls, of which {int(self.num_batches_tracked.max())} were finite: its "
                "input never leaves its mean, is no number, or is masked out",
                RuntimeWarning,
                stacklevel=2,
            )
