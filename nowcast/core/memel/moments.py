"""Running mean and variance of neurons, as sums that merge over batches and ranks."""

import math

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from nowcast.core.system.distributed import sum_over_ranks

Count = int | Tensor  # of samples: a number where the host knows it, so that no device has to


def batch_moments(
    values: Float[Tensor, "batch neurons"], running_mean: Float[Tensor, " neurons"]
) -> tuple[int, Float[Tensor, " neurons"], Float[Tensor, " neurons"]]:
    """A batch's size, its mean minus the running mean, and its squared deviations from its mean.

    Two passes, so exact wherever the running mean may be.
    """
    # torch.var_mean over the first axis is many times slower on CPU.
    mean = values.mean(0)
    return len(values), mean - running_mean, (values - mean).square_().sum(0)


def summable(
    values: Float[Tensor, "batch neurons"], running_mean: Float[Tensor, " neurons"]
) -> Float64[Tensor, " 1+2*neurons"]:
    """`batch_moments` as they add up over ranks, which have the running mean in common: the
    batch's size, deviations from that mean, and their squares. A batch may be empty."""
    sums = (values - running_mean).sum(0).double()
    within = (values - values.mean(0)).square_().sum(0)
    size = torch.full((1,), len(values), dtype=torch.float64, device=values.device)
    return torch.cat([size, sums, within + sums.square() / max(len(values), 1)])


def of_all_ranks(
    moments: Float64[Tensor, " 1+2*neurons"],
) -> tuple[Tensor, Float[Tensor, " neurons"], Float[Tensor, " neurons"]]:
    """`batch_moments` of the union of all ranks' batches, from the sum of their `summable`."""
    count, (sums, squares) = moments[0], moments[1:].view(2, -1)
    shift = sums / count
    return count.float(), shift.float(), (squares - sums * shift).clamp_(min=0).float()


def present_moments(
    values: Float[Tensor, "batch *input"],
    present: Bool[Tensor, "batch *place"],
    running_mean: Float[Tensor, "*neurons"],
    places: torch.Size,
    sync: bool,
) -> tuple[Tensor, Float[Tensor, "*neurons"], Float[Tensor, "*neurons"]]:
    """`batch_moments` of what is present alone, with a count for each place.

    Args:
        values: ``batch *neurons``, or less of them where the batch is shorter; the rest is absent.
        present: broadcasts to `values`. What is not present may be NaN.
        running_mean: of all neurons.
        places: the shape of the count: that of the neurons, 1 where they share one, or none at all.
        sync: whether the batch is the union of all ranks' batches, of whatever lengths.
    """
    within = tuple(map(slice, values.shape[1:]))

    def over_all(part: Tensor, shape: torch.Size) -> Tensor:
        whole = part.new_zeros(shape)
        whole[within] = part
        return sum_over_ranks(whole) if sync else whole

    if places:
        count = over_all(present.sum(0), places)
    else:
        count = sum_over_ranks(present.sum()) if sync else present.sum()
    sums = over_all(torch.where(present, values, 0).sum(0), running_mean.shape)
    mean = sums / count.clamp(min=1)
    deviations = torch.where(present, values - mean[within], 0)
    squares = over_all(deviations.square_().sum(0), running_mean.shape)
    return count, torch.where(count > 0, mean - running_mean, 0), squares


def merge(
    running_mean: Float[Tensor, "*neurons"],
    running_var: Float[Tensor, "*neurons"],
    past: Count,
    count: Count,
    shift: Float[Tensor, "*neurons"],
    squares: Float[Tensor, "*neurons"],
) -> Tensor:
    """Merge a batch into the statistics of `past` samples, in place (Chan et al. 1983).

    With `past` what has been seen, these stay the exact mean and unbiased variance of everything
    (Wang et al. 2024, Lemma 3.2, eq. 8-9, for batches of any size); with `past` a constant number
    of batches it is their Algorithm 1.

    Returns:
        1.0 if the batch was finite, 0.0 if not, and then nothing has changed.
    """
    total = past + count
    freedom = (total - 1).clamp(min=1) if isinstance(total, Tensor) else max(total - 1, 1)
    merged = running_var * ((past - 1) / freedom)
    merged.add_(squares.mul_(1 / freedom))
    merged.add_(shift.square().mul_(past * count / (total * freedom)))
    sound = (merged.sum() < math.inf).float()
    # A NaN times 0 is a NaN; lerp at 0 and at 1 is exact.
    running_var.lerp_(merged.nan_to_num_(0.0, 0.0, 0.0), sound)
    running_mean.add_(shift.nan_to_num_(0.0, 0.0, 0.0).mul_(sound * (count / total)))
    return sound
