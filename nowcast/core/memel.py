"""MEmeL: in training, find a layer's most monosemantic values and deactivate them in reverse.

Wang et al., Learning from Emergence, KDD 2024 (arXiv 2312.11560). A neuron that rarely leaves its
mean but then leaves it far is monosemantic; its Monosemantic Scale is the squared deviation from
the running mean in units of the running variance (eq. 7). Reversed Deactivation puts the mean in
its place and turns its gradient round, so the network learns to depend on it less.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nowcast.core.distributed import is_shared, sum_over_ranks

Convention = Literal["paper", "released"]

TINY = torch.finfo(torch.float32).tiny  # the least variance a deviation is measured in


def monosemantic_scale(
    values: Float[Tensor, "batch neurons"],
    mean: Float[Tensor, " neurons"],
    variance: Float[Tensor, " neurons"],
    eps: float = 0.01,
) -> Float[Tensor, "batch neurons"]:
    """Monosemantic Scale phi of every value; range [0, inf), larger is more monosemantic.

    ``phi = (z - mean)^2 / (variance + eps * mean over neurons of variance)``: eq. 7 with the
    variance compensation of Algorithm 2. Where all variances are 0, phi is 0 for values at their
    mean and huge for others, so a constant input scores 0 and not NaN.
    """
    scale = variance + eps * variance.mean()
    return (values.float() - mean).square_().div_(scale.clamp_min_(TINY))


def inhibit(
    values: Float[Tensor, "batch neurons"],
    mean: Float[Tensor, " neurons"],
    chosen: Int[Tensor, "batch top_k"],
    delta: float = 1.0,
    active: Bool[Tensor, ""] | None = None,
) -> Float[Tensor, "batch neurons"]:
    """Put the mean in the place of the chosen values, with -delta times their gradient.

    ``z' = -delta * z + (mean + delta * z).detach()`` (Reversed Deactivation at delta 1, Naive (a)
    at 0, Naive (b) at -1), written so that the value is the mean to the bit. The result is a new
    tensor of the values' dtype; values that were not chosen pass with value and gradient. Where
    `active` is given and False, all do.
    """
    picked = values.gather(1, chosen)
    replacement = mean[chosen].to(values.dtype) + delta * (picked.detach() - picked)
    if active is not None:
        replacement = torch.where(active, replacement, picked)
    return values.scatter(1, chosen, replacement)


class MEmeL(nn.Module):
    """Monosemanticity-based Emergence Learning as a layer without parameters.

    In training mode each call is one batch: it moves the running statistics and, once `late_start`
    batches have been seen, inhibits in each sample the `top_k` neurons with the largest
    Monosemantic Scale. In evaluation mode it is the identity, unless `in_eval`. A recurrent cell
    that calls it at every time step counts every time step as a batch; so does gradient
    accumulation with every forward call.

    Args:
        neuron_shape: shape of one sample; every position is one neuron.
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

    Shape:
        input and output ``(batch, *neuron_shape)``, same dtype; statistics are float32.

    Raises:
        ValueError: an argument out of range; an input of another shape while it is active.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    num_samples_tracked: Tensor

    def __init__(
        self,
        neuron_shape: tuple[int, ...],
        *,
        delta: float = 1.0,
        top_k: int = 1,
        forget_steps: int = 10,
        late_start: int = 10,
        eps: float = 0.01,
        convention: Convention = "paper",
        in_eval: bool = False,
        sync: bool = True,
    ) -> None:
        super().__init__()
        neurons = torch.Size(neuron_shape).numel()
        if not 1 <= top_k <= neurons:
            raise ValueError(f"top_k must be 1 to {neurons}, the number of neurons; found {top_k}")
        if forget_steps < 1 or late_start < 1 or eps < 0:
            raise ValueError(
                "forget_steps and late_start must be at least 1 and eps at least 0; found "
                f"{forget_steps}, {late_start}, {eps}"
            )
        if convention not in get_args(Convention):
            raise ValueError(
                f"convention must be one of {get_args(Convention)}; found {convention}"
            )
        self.neuron_shape = tuple(neuron_shape)
        self.delta = delta
        self.top_k = top_k
        self.forget_steps = forget_steps
        self.late_start = late_start
        self.eps = eps
        self.convention = convention
        self.in_eval = in_eval
        self.sync = sync
        self.register_buffer("running_mean", torch.zeros(neuron_shape))
        self.register_buffer("running_var", torch.zeros(neuron_shape))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        # Batches may differ in size, and exact statistics need the number of samples behind them.
        self.register_buffer("num_samples_tracked", torch.tensor(0))

    def extra_repr(self) -> str:
        """The settings, as `print(model)` shows them."""
        return (
            f"{self.neuron_shape}, delta={self.delta:g}, top_k={self.top_k}, "
            f"forget_steps={self.forget_steps}, late_start={self.late_start}, "
            f"convention={self.convention!r}"
        )

    def forward(self, values: Tensor) -> Tensor:
        """The values, some of them inhibited; see the class."""
        # Decided on the device, without a host synchronisation.
        started = self.num_batches_tracked >= self.late_start
        if not self.training:
            return self._inhibited(values, started) if self.in_eval else values
        if self.convention == "released":
            self._update(values.detach())
        output = self._inhibited(values, started)
        if self.convention == "paper":
            self._update(values.detach())
        return output

    def _inhibited(self, values: Tensor, started: Tensor) -> Tensor:
        self._check(values)
        flat = values.flatten(1)
        mean = self.running_mean.flatten()
        with torch.no_grad():
            scale = monosemantic_scale(flat.detach(), mean, self.running_var.flatten(), self.eps)
            # The largest one alone is found several times faster than by sorting.
            if self.top_k == 1:
                chosen = scale.argmax(dim=1, keepdim=True)
            else:
                chosen = scale.topk(self.top_k, dim=1).indices
        return inhibit(flat, mean, chosen, self.delta, started).view_as(values)

    @torch.no_grad()
    def _update(self, values: Tensor) -> None:
        """Merge a batch into the running statistics (Chan's formula for two groups of samples)."""
        self._check(values)
        count, mean, variance = self._moments(values.float())
        past = torch.where(
            self.num_batches_tracked < self.forget_steps,
            self.num_samples_tracked,
            self.forget_steps * count,
        )
        total = past + count
        shift = mean - self.running_mean
        freedom = (total - 1).clamp_(min=1)
        self.running_var.mul_((past - 1).clamp_(min=0) / freedom)
        self.running_var.add_(variance.mul_(count / freedom))
        self.running_var.addcmul_(shift, shift * (past * count / (total * freedom)))
        self.running_mean.addcmul_(shift, count / total)
        self.num_batches_tracked += 1
        self.num_samples_tracked += count

    def _moments(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Samples, their mean and their biased variance in the batch, or in those of all ranks."""
        count = torch.full((), values.shape[0], device=values.device)
        if not (self.sync and is_shared()):
            # torch.var_mean over the first axis is ten times slower on CPU.
            mean = values.mean(0)
            return count, mean, (values - mean).square_().mean(0)
        sum_over_ranks(count)
        mean = sum_over_ranks(values.sum(0)) / count
        return count, mean, sum_over_ranks((values - mean).square_().sum(0)) / count

    def _check(self, values: Tensor) -> None:
        if values.shape[1:] != self.neuron_shape:
            raise ValueError(
                f"MEmeL keeps statistics of neurons of shape {self.neuron_shape}; found an input "
                f"{tuple(values.shape)}. Train at the size it was plugged in for"
            )
