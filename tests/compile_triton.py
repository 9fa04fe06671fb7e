"""Compile the Triton kernels for NVIDIA's GPUs as they are called, where there is no GPU.

    python -m tests.compile_triton

The interpreter takes what the compiler refuses. Nothing is launched; a process of its own, since a
kernel is interpreted or compiled as of its import.
"""

import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from nowcast.core.memel import fused
from nowcast.precipitation.forecasters.cells import recurrence
from tests.triton_kernels import kernels

AMPERE, HOPPER = 80, 90
NAMES = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.bfloat16: "*bf16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.uint8: "*u8",
    torch.bool: "*i1",
}


def compiled(kernel: JITFunction, *args: Any, grid: object, warmup: bool, **options: Any) -> None:
    """Compile a kernel for these arguments, as a launch would."""
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    for parameter, value in zip(kernel.params, args, strict=True):
        specialised = value is None or (value == 1 if isinstance(value, int) else False)
        if parameter.is_constexpr or (specialised and not parameter.do_not_specialize):
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = NAMES[value.dtype]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
    for capability in (AMPERE, HOPPER):
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        code = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        assert "cubin" in code.asm and "atom" not in code.asm["ptx"]
    sys.stdout.write(f"{kernel.__name__} {', '.join(signature.values())}\n")


def gates() -> None:
    """All four functions, with and without a way back, and for biases alone."""
    of = kernels(recurrence.ON_GPU)
    state = torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    signs = state.to(torch.uint8)
    for dtype in (torch.float32, torch.bfloat16):
        three = torch.zeros(2, 9, 4, 5, dtype=dtype).contiguous(memory_format=torch.channels_last)
        carried = state.to(dtype)
        for x, h in ((three, three), (three, torch.zeros(9)), (torch.zeros(9), three)):
            kept = state, carried if h is three else state, signs
            of.open(x, h, state, state, *kept, 0.2, 0.2)
            of.open(x, h, state, state, None, None, None, 0.2, 0.2)
        of.close(state, state, state, state, carried, signs, three, three, 0.2, 0.2)
    of.mix(state, state, state, state)
    of.unmix(*[state] * 7)


def memel() -> None:
    """Every way to call."""
    of = kernels(fused.ON_GPU)
    for dtype in (torch.float32, torch.bfloat16):
        for batch, shape, top_k, steps in ((3, (5, 20, 8), 3, 10), (1, (7, 1, 1), 1, 1)):
            values = torch.zeros(batch, *shape, dtype=dtype)
            statistics = torch.zeros(shape), torch.zeros(shape), *torch.zeros(2, dtype=torch.int64)
            chosen = torch.zeros(batch, top_k, dtype=torch.int64)
            scale = torch.zeros(values.shape)
            moments = torch.zeros(1 + 2 * statistics[0].numel(), dtype=torch.float64)
            for last, given in ((False, False), (True, False), (False, True)):
                for wanted, of_rank in ((None, None), (scale, None), (None, moments)):
                    room = values.clone() if wanted is None else values
                    rest = last, steps, steps, 0.01, given
                    of.choose(values, room, statistics, chosen, wanted, of_rank, *rest)
            for of_rank in (None, moments):
                rest = torch.ones(()), None, of_rank, steps, steps, 0.01
                of.sift(values, values.clone(), statistics, *rest)
            inhibited = chosen.bool()
            of.turn(values, values.clone(), chosen, inhibited, 1.0)
            of.turn(values, values.clone(), values.flatten(1).bool(), None, 1.0)


if __name__ == "__main__":
    JITFunction.run = compiled
    gates()
    memel()
