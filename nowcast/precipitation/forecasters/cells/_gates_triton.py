"""The gates of a convolutional GRU on a GPU: the four functions of ``_gates.c`` as Triton kernels.

Each takes what its namesake there takes, and computes the same; see `recurrence`. Tests check types
where code is imported, and a kernel is no Python to check: `no_type_check`.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # values of a program
EXACT = {"enable_fp_fusion": False}  # no product and sum in one rounding: as in C
# Which of the values that went through a leaky ReLU were positive, as in ``_gates.c``.
X_UPDATE, H_UPDATE = tl.constexpr(1), tl.constexpr(2)
X_RESET, H_RESET = tl.constexpr(4), tl.constexpr(8)
X_NEW, H_NEW, NEW = tl.constexpr(16), tl.constexpr(32), tl.constexpr(64)


def open(
    x: Tensor,
    h: Tensor,
    update: Tensor,
    candidate: Tensor,
    reset: Tensor | None,
    carried: Tensor | None,
    signs: Tensor | None,
    slope: float,
    leak: float,
) -> None:
    """Update gate and candidate from x and h."""
    count, channels = update.numel(), update.shape[1]
    kept = [reset, carried, signs]
    _check(count, update, candidate, *(each for each in kept if each is not None))
    steps = []
    for part in (x, h):
        one_for_all = part.dim() == 1
        steps.append(0 if one_for_all else 3 * channels)
        if one_for_all:
            assert part.is_contiguous() and len(part) == 3 * channels
        else:
            _check(3 * count, part)
    _open[_grid(count)](
        x, h, update, candidate, *kept, count, slope, leak, channels, *steps,
        signs is not None, BLOCK, **EXACT,
    )  # fmt: skip


def close(
    update_gradient: Tensor,
    candidate_gradient: Tensor,
    update: Tensor,
    reset: Tensor,
    carried: Tensor,
    signs: Tensor,
    x_gradient: Tensor,
    h_gradient: Tensor,
    slope: float,
    leak: float,
) -> None:
    """The gradients of x and h from those of `open`."""
    count, channels = update.numel(), update.shape[1]
    inputs = update_gradient, candidate_gradient, update, reset, carried, signs
    _check(count, *inputs)
    _check(3 * count, x_gradient, h_gradient)
    outputs = x_gradient, h_gradient
    _close[_grid(count)](*inputs, *outputs, count, slope, leak, channels, BLOCK, **EXACT)


def mix(candidate: Tensor, hidden: Tensor, update: Tensor, output: Tensor) -> None:
    """Candidate and hidden state mixed by the update gate."""
    _check(update.numel(), candidate, hidden, update, output)
    count = update.numel()
    _mix[_grid(count)](candidate, hidden, update, output, count, BLOCK, **EXACT)


def unmix(
    gradient: Tensor,
    candidate: Tensor,
    hidden: Tensor,
    update: Tensor,
    into_candidate: Tensor,
    into_hidden: Tensor,
    into_update: Tensor,
) -> None:
    """The gradients of the three from that of `mix`."""
    frames = gradient, candidate, hidden, update, into_candidate, into_hidden, into_update
    _check(update.numel(), *frames)
    _unmix[_grid(update.numel())](*frames, update.numel(), BLOCK, **EXACT)


def try_out(device: torch.device) -> None:
    """Launch a kernel."""
    mix(*torch.zeros(4, 1, 1, 1, 1, device=device))


def _grid(count: int) -> tuple[int]:
    return (triton.cdiv(count, BLOCK),)


def _check(count: int, *frames: Tensor) -> None:
    """A kernel reads addresses: whatever is not as it expects would give wrong numbers."""
    for each in frames:
        assert each.numel() == count and each.is_contiguous(memory_format=torch.channels_last)


@triton.jit
@no_type_check
def _leaky(x, slope):
    return tl.where(x > 0, x, slope * x)


@triton.jit
@no_type_check
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
@no_type_check
def _open(
    x, h, update, candidate, reset, carried, signs, count, slope, leak,
    CHANNELS: tl.constexpr, X_STEP: tl.constexpr, H_STEP: tl.constexpr,
    WAY_BACK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    row, channel = at // CHANNELS, at % CHANNELS
    from_x, from_h = x + row * X_STEP + channel, h + row * H_STEP + channel
    xz = tl.load(from_x, inside, other=0.0).to(tl.float32)
    hz = tl.load(from_h, inside, other=0.0).to(tl.float32)
    xr = tl.load(from_x + CHANNELS, inside, other=0.0).to(tl.float32)
    hr = tl.load(from_h + CHANNELS, inside, other=0.0).to(tl.float32)
    xh = tl.load(from_x + 2 * CHANNELS, inside, other=0.0).to(tl.float32)
    hh = tl.load(from_h + 2 * CHANNELS, inside, other=0.0).to(tl.float32)
    r = _sigmoid(_leaky(xr, slope) + _leaky(hr, slope))
    from_past = _leaky(hh, slope)
    new = _leaky(xh, slope) + r * from_past
    tl.store(update + at, _sigmoid(_leaky(xz, slope) + _leaky(hz, slope)), inside)
    tl.store(candidate + at, _leaky(new, leak), inside)
    if WAY_BACK:
        tl.store(reset + at, r, inside)
        tl.store(carried + at, from_past.to(carried.dtype.element_ty), inside)
        of_gates = tl.where(xz > 0, X_UPDATE, 0) | tl.where(hz > 0, H_UPDATE, 0)
        of_gates |= tl.where(xr > 0, X_RESET, 0) | tl.where(hr > 0, H_RESET, 0)
        of_new = tl.where(xh > 0, X_NEW, 0) | tl.where(hh > 0, H_NEW, 0)
        of_new |= tl.where(new > 0, NEW, 0)
        tl.store(signs + at, (of_gates | of_new).to(tl.uint8), inside)


@triton.jit
@no_type_check
def _close(
    into_update, into_candidate, update, reset, carried, signs, into_x, into_h,
    count, slope, leak, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    row, channel = at // CHANNELS, at % CHANNELS
    u = tl.load(update + at, inside, other=0.0)
    r = tl.load(reset + at, inside, other=0.0)
    sign = tl.load(signs + at, inside, other=0).to(tl.int32)
    from_past = tl.load(carried + at, inside, other=0.0).to(tl.float32)
    into_u = tl.load(into_update + at, inside, other=0.0) * u * (1.0 - u)
    into_new = tl.load(into_candidate + at, inside, other=0.0)
    into_new *= tl.where((sign & NEW) != 0, 1.0, leak)
    into_r = into_new * from_past * r * (1.0 - r)
    dtype = into_x.dtype.element_ty
    to_x, to_h = into_x + row * 3 * CHANNELS + channel, into_h + row * 3 * CHANNELS + channel
    of_x = into_u * tl.where((sign & X_UPDATE) != 0, 1.0, slope)
    of_h = into_u * tl.where((sign & H_UPDATE) != 0, 1.0, slope)
    tl.store(to_x, of_x.to(dtype), inside)
    tl.store(to_h, of_h.to(dtype), inside)
    of_x = into_r * tl.where((sign & X_RESET) != 0, 1.0, slope)
    of_h = into_r * tl.where((sign & H_RESET) != 0, 1.0, slope)
    tl.store(to_x + CHANNELS, of_x.to(dtype), inside)
    tl.store(to_h + CHANNELS, of_h.to(dtype), inside)
    of_x = into_new * tl.where((sign & X_NEW) != 0, 1.0, slope)
    of_h = into_new * r * tl.where((sign & H_NEW) != 0, 1.0, slope)
    tl.store(to_x + 2 * CHANNELS, of_x.to(dtype), inside)
    tl.store(to_h + 2 * CHANNELS, of_h.to(dtype), inside)


@triton.jit
@no_type_check
def _mix(candidate, hidden, update, output, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    new = tl.load(candidate + at, inside, other=0.0)
    past = tl.load(hidden + at, inside, other=0.0)
    tl.store(output + at, new + tl.load(update + at, inside, other=0.0) * (past - new), inside)


@triton.jit
@no_type_check
def _unmix(
    gradient, candidate, hidden, update, into_candidate, into_hidden, into_update,
    count, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    g = tl.load(gradient + at, inside, other=0.0)
    u = tl.load(update + at, inside, other=0.0)
    past = tl.load(hidden + at, inside, other=0.0)
    new = tl.load(candidate + at, inside, other=0.0)
    tl.store(into_candidate + at, g - g * u, inside)
    tl.store(into_hidden + at, g * u, inside)
    tl.store(into_update + at, g * (past - new), inside)
