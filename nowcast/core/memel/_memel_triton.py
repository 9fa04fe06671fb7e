"""MEmeL's training call on a GPU: what ``_memel.c`` does in one pass, as Triton kernels.

Two launches there and one back. The first, a program for each `BLOCK` neurons, has what a batch
says of its own neurons: their statistics, scales, and the largest of these in each sample. Only
then is known which of all are the largest, and whether the batch was finite: that is the second's.
No sum depends on the order in which programs run, so the same batch gives the same bits.

Statistics, samples and outputs are in memory order, see `memory_order`; counts and the threshold
stay on the device, so that nothing waits for it.
"""

from typing import NamedTuple, no_type_check

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK, ROWS = 128, 16  # neurons of a program, and samples that it has before it at once
MOST_SAMPLES = 1024  # of a batch, which a program reads one after the other
MOST_PICKS = 32  # of a sample, one after the other
MOST_KEYS = 8192  # of a sample, which a program has before it at once
EXACT = {"enable_fp_fusion": False}  # no product and sum in one rounding: as in C
LEAST = tl.constexpr(-(2**62))  # a key below all others
TINY = tl.constexpr(torch.finfo(torch.float32).tiny)
LARGEST = torch.finfo(torch.float32).max

Statistics = tuple[Tensor, Tensor, Tensor, Tensor]  # mean, variance, batches, samples


class Chosen(NamedTuple):
    """What `choose` did.

    Args:
        inhibited: which of the chosen values were, bool ``batch top_k``.
        changed: of which samples any value is another than before, bool ``batch``.
    """

    inhibited: Tensor
    changed: Tensor


class Exceeding(NamedTuple):
    """What `sift` did.

    Args:
        exceeding: how many values exceed the threshold, int64.
        inhibited: which were, bool ``batch neurons``.
        mean: that took their place, ``neurons``, in the dtype of the values.
        changed: by block of neurons, whether any value is another than before.
    """

    exceeding: Tensor
    inhibited: Tensor
    mean: Tensor
    changed: Tensor


def fits(batch: int, neurons: int, top_k: int) -> bool:
    """Whether a call is of a size that these kernels are made for: more samples than
    `MOST_SAMPLES`, as of a network whose neurons are channels, would keep few programs long."""
    few = 0 < batch <= MOST_SAMPLES and top_k <= MOST_PICKS
    return few and triton.cdiv(neurons, BLOCK) * top_k <= MOST_KEYS


def choose(
    values: Tensor,
    output: Tensor,
    statistics: Statistics,
    chosen: Tensor,
    scale: Tensor | None,
    moments: Tensor | None,
    channels_last: bool,
    forget_steps: int,
    late_start: int,
    eps: float,
    given: bool,
) -> Chosen:
    """As `_memel.see`: the `top_k` of each sample into `chosen`, or those that it gives."""
    (batch, top_k), neurons = chosen.shape, statistics[0].numel()
    blocks = triton.cdiv(neurons, BLOCK)
    keys = None if given else chosen.new_empty(batch, blocks, top_k)
    channels = statistics[0].shape[0] if channels_last else 0
    kept = _look(
        values, output, statistics, scale, moments, keys, None, None, None,
        forget_steps, late_start, eps, channels, 0 if given else top_k,
    )  # fmt: skip
    inhibited = chosen.new_empty(batch, top_k, dtype=torch.bool)
    changed = chosen.new_empty(batch, dtype=torch.bool)
    _act_kernel[(max(blocks if moments is None else 0, batch),)](
        output, *statistics, *kept, keys, chosen, inhibited, changed,
        batch, neurons, blocks, late_start, _limit(neurons), channels, top_k,
        not given, True, moments is None, triton.next_power_of_2(blocks * top_k),
        triton.next_power_of_2(blocks), BLOCK, **EXACT,
    )  # fmt: skip
    return Chosen(inhibited, changed)


def sift(
    values: Tensor,
    output: Tensor,
    statistics: Statistics,
    threshold: Tensor,
    scale: Tensor | None,
    moments: Tensor | None,
    forget_steps: int,
    late_start: int,
    eps: float,
) -> Exceeding:
    """As `_memel.sift`, of all values whose scale is at least the threshold, one float32."""
    neurons = statistics[0].numel()
    batch, blocks = values.numel() // neurons, triton.cdiv(neurons, BLOCK)
    inhibited = values.new_empty(batch, neurons, dtype=torch.bool)
    tallies = statistics[2].new_empty(2, blocks)  # exceeding, changed
    kept = _look(
        values, output, statistics, scale, moments, None, threshold, inhibited, tallies,
        forget_steps, late_start, eps, 0, 0,
    )  # fmt: skip
    if moments is None:
        _act_kernel[(blocks,)](
            output, *statistics, *kept, None, None, None, None,
            batch, neurons, blocks, late_start, _limit(neurons), 0, 0,
            False, False, True, 1, triton.next_power_of_2(blocks), BLOCK, **EXACT,
        )  # fmt: skip
    past = kept.past[:neurons].to(values.dtype)
    return Exceeding(tallies[0].sum(), inhibited, past, tallies[1] > 0)


def turn(
    gradient: Tensor, output: Tensor, chosen: Tensor, inhibited: Tensor | None, delta: float
) -> None:
    """A gradient with -delta times that of the chosen neurons where they were inhibited.

    Args:
        gradient: ``batch neurons``, dense in memory order.
        output: likewise.
        chosen: ``batch top_k``; or bool ``batch neurons``, and then `inhibited` is None.
        inhibited: bool ``batch top_k``.
        delta: of the layer.
    """
    batch = len(chosen)
    neurons = gradient.numel() // batch
    top_k = 0 if inhibited is None else chosen.shape[1]
    grid = triton.cdiv(neurons, 1024), batch
    given = gradient, output, chosen, inhibited, delta, neurons
    _turn_kernel[grid](*given, top_k, 1024, **EXACT)


def try_out(device: torch.device) -> None:
    """Launch a kernel."""
    one = torch.ones(1, 1, device=device)
    turn(one, one.clone(), one.bool(), None, 1.0)


class _Kept(NamedTuple):
    """What the second launch has of the first.

    Args:
        past: mean and variance before the batch, one after the other.
        counts: batches and samples before it.
        largest: of each block, the bits of its largest new variance.
    """

    past: Tensor
    counts: Tensor
    largest: Tensor


def _look(
    values: Tensor,
    output: Tensor,
    statistics: Statistics,
    scale: Tensor | None,
    moments: Tensor | None,
    keys: Tensor | None,
    threshold: Tensor | None,
    inhibited: Tensor | None,
    tallies: Tensor | None,
    forget_steps: int,
    late_start: int,
    eps: float,
    channels: int,
    top_k: int,
) -> _Kept:
    """The first launch."""
    mean, variance, batches, samples = statistics
    neurons = mean.numel()
    batch, blocks = values.numel() // neurons, triton.cdiv(neurons, BLOCK)
    kept = _Kept(
        mean.new_empty(2 * neurons), batches.new_empty(2), mean.new_empty(blocks, dtype=torch.int32)
    )
    _look_kernel[(blocks,)](
        values, output, mean, variance, batches, samples, variance.mean(), *kept,
        scale, moments, keys, threshold, inhibited, tallies,
        batch, neurons, blocks, forget_steps, late_start, eps,
        channels, top_k, scale is not None, moments is not None, threshold is not None,
        output.data_ptr() != values.data_ptr(), min(ROWS, triton.next_power_of_2(batch)), BLOCK,
        **EXACT,
    )  # fmt: skip
    return kept


def _limit(neurons: int) -> int:
    """The bits of the least variance that is too large: their sum must be a number too."""
    return int(np.float32(LARGEST / neurons).view(np.int32))


@triton.jit(do_not_specialize=["batch"])  # else a batch of 1 has no dtype
@no_type_check
def _look_kernel(
    values, output, mean, variance, batches, samples, average, past, counts, largest,
    scale, moments, keys, threshold, inhibited, tallies,
    batch, neurons, blocks, forget_steps, late_start, eps,
    CHANNELS: tl.constexpr, TOP_K: tl.constexpr, SCALE: tl.constexpr, MOMENTS: tl.constexpr,
    SIFT: tl.constexpr, COPY: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    at = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < neurons
    mu = tl.load(mean + at, inside, other=0.0)
    var = tl.load(variance + at, inside, other=0.0)
    own = var + eps * tl.load(average)
    unit = tl.where(own > TINY, own, TINY)
    seen, seen_samples = tl.load(batches), tl.load(samples)
    dtype = output.dtype.element_ty

    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, batch, ROWS):
        row = first + tl.arange(0, ROWS)
        there = (row < batch)[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * neurons + at[None, :]
        total += tl.sum(tl.load(values + place, there, other=0.0).to(tl.float32), 0)
    size = batch.to(tl.float32)
    batch_mean = tl.div_rn(total, size)
    shift = batch_mean - mu

    squares = tl.zeros([BLOCK], tl.float32)
    exceeding = tl.zeros([BLOCK], tl.int64)
    changed = tl.zeros([BLOCK], tl.int64)
    for first in range(0, batch, ROWS):
        row = first + tl.arange(0, ROWS)
        there = (row < batch)[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * neurons + at[None, :]
        x = tl.load(values + place, there, other=0.0).to(tl.float32)
        within = tl.where(there, x - batch_mean[None, :], 0.0)
        squares += tl.sum(within * within, 0)
        away = x - mu[None, :]
        phi = tl.div_rn(away * away, tl.broadcast_to(unit[None, :], (ROWS, BLOCK)))
        # The bits of floats that are not negative order as they do, and those of NaN are above all.
        bits = phi.to(tl.int32, bitcast=True) & 0x7FFFFFFF
        if SCALE:
            tl.store(scale + place, bits.to(tl.float32, bitcast=True), there)
        if SIFT:
            least = tl.load(threshold).to(tl.int32, bitcast=True)
            above = there & (bits >= least) & (tl.abs(x) < float("inf"))
            acts = above & (tl.zeros([ROWS, BLOCK], tl.int64) + seen >= late_start)
            new = tl.broadcast_to(mu[None, :], (ROWS, BLOCK)).to(dtype)
            exceeding += tl.sum(above.to(tl.int64), 0)
            changed += tl.sum((acts & (new.to(tl.float32) != x)).to(tl.int64), 0)
            tl.store(inhibited + place, acts, there)
            tl.store(output + place, tl.where(acts, new, x.to(dtype)), there)
        elif COPY:
            tl.store(output + place, x.to(dtype), there)
        if TOP_K > 0:
            order = at  # of equal scales the first in row-major order is first
            if CHANNELS > 0:
                order = at % CHANNELS * (neurons // CHANNELS) + at // CHANNELS
            key = tl.where(there, (bits.to(tl.int64) << 32) - order[None, :], LEAST)
            to = keys + (row.to(tl.int64) * blocks + block) * TOP_K
            for k in tl.static_range(TOP_K):
                best = tl.max(key, 1)
                tl.store(to + k, best, row < batch)
                key = tl.where(key == best[:, None], LEAST, key)
    if SIFT:
        tl.store(tallies + block, tl.sum(exceeding, 0))
        tl.store(tallies + blocks + block, tl.sum(changed, 0))

    tl.store(past + at, mu, inside)
    tl.store(counts, seen, block == 0)
    tl.store(counts + 1, seen_samples, block == 0)
    if MOMENTS:
        # About the running mean, which all ranks have in common, and in double, as in C.
        sums = shift.to(tl.float64) * size
        tl.store(moments + 1 + at, sums, inside)
        tl.store(moments + 1 + neurons + at, squares.to(tl.float64) + sums * shift, inside)
        tl.store(moments, size.to(tl.float64), block == 0)
    else:
        tl.store(past + neurons + at, var, inside)
        before = tl.where(seen < forget_steps, seen_samples, batch.to(tl.int64) * forget_steps).to(
            tl.float32
        )
        everything = before + size
        freedom = tl.maximum(everything - 1.0, 1.0)
        new = var * tl.div_rn(before - 1.0, freedom) + squares * tl.div_rn(1.0, freedom)
        new += shift * shift * tl.div_rn(before * size, everything * freedom)
        # Written at once; where the batch turns out not to be finite, the second launch undoes it.
        tl.store(variance + at, new, inside)
        tl.store(mean + at, mu + shift * tl.div_rn(size, everything), inside)
        bits = tl.where(inside, new.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 0)
        tl.store(largest + block, tl.max(bits, 0))


@triton.jit
@no_type_check
def _act_kernel(
    output, mean, variance, batches, samples, past, counts, largest,
    keys, chosen, inhibited, changed,
    batch, neurons, blocks, late_start, limit,
    CHANNELS: tl.constexpr, TOP_K: tl.constexpr, MERGE: tl.constexpr, INHIBIT: tl.constexpr,
    COUNT: tl.constexpr, KEYS: tl.constexpr, BLOCKS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    seen = tl.load(counts)
    if INHIBIT:  # noqa: SIM102  this is known when the kernel is compiled, the other is not
        if program < batch:
            sample = program.to(tl.int64)
            started = seen >= late_start
            if MERGE:
                lanes = tl.arange(0, KEYS)
                of_sample = keys + sample * blocks * TOP_K + lanes
                key = tl.load(of_sample, lanes < blocks * TOP_K, other=LEAST)
            any_changed = seen < 0  # it never is
            for k in tl.static_range(TOP_K):
                if MERGE:
                    best = tl.max(key, 0)
                    key = tl.where(key == best, LEAST, key)
                    order = (-best) & 0xFFFFFFFF
                    place = order
                    if CHANNELS > 0:
                        positions = neurons // CHANNELS
                        place = order % positions * CHANNELS + order // positions
                    tl.store(chosen + sample * TOP_K + k, place)
                else:
                    place = tl.load(chosen + sample * TOP_K + k)
                to = output + sample * neurons + place
                old = tl.load(to).to(tl.float32)
                new = tl.load(past + place).to(output.dtype.element_ty)
                acts = started & (tl.abs(old) < float("inf"))
                tl.store(to, new, acts)
                tl.store(inhibited + sample * TOP_K + k, acts)
                any_changed = any_changed | (acts & (new.to(tl.float32) != old))
            tl.store(changed + sample, any_changed)
    if COUNT:
        lanes = tl.arange(0, BLOCKS)
        sound = tl.max(tl.load(largest + lanes, lanes < blocks, other=0), 0) < limit
        once = sound.to(tl.int64)
        tl.store(batches, seen + once, program == 0)
        tl.store(samples, tl.load(counts + 1) + once * batch, program == 0)
        at = program.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        undone = at < tl.where(sound, 0, neurons)
        tl.store(mean + at, tl.load(past + at, undone, other=0.0), undone)
        tl.store(variance + at, tl.load(past + neurons + at, undone, other=0.0), undone)


@triton.jit
@no_type_check
def _turn_kernel(
    gradient, output, chosen, inhibited, delta, neurons,
    TOP_K: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    sample = tl.program_id(1).to(tl.int64)
    inside = at < neurons
    g = tl.load(gradient + sample * neurons + at, inside, other=0.0)
    if TOP_K == 0:
        turns = tl.load(chosen + sample * neurons + at, inside, other=0) != 0
    else:
        turns = at < 0
        for k in tl.static_range(TOP_K):
            which = sample * TOP_K + k
            acts = tl.load(inhibited + which) != 0
            turns = turns | ((at == tl.load(chosen + which)) & acts)
    turned = (g.to(tl.float32) * -delta).to(output.dtype.element_ty)
    tl.store(output + sample * neurons + at, tl.where(turns, turned, g), inside)
