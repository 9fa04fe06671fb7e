"""Which instructions torch may use where it is measured: one machine stands for simpler ones.

oneDNN has its convolutions, MKL its fp32 matrix products, and the rest is torch's own; each looks
at its variable once, when it is loaded. MKL heeds its own on Intel's processors alone and has AVX2
on others. OpenCV, NumPy and our C are not limited.
"""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from nowcast.core.errors import ConfigError
from nowcast.core.training.precision import computes_bf16

VARIABLES = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
# AVX512_CORE is AVX-512 without its instructions for neural networks, bf16 among them.
ISAS: dict[str, dict[str, str]] = {
    "native": {},
    "avx512": dict(zip(VARIABLES, ("AVX512_CORE", "avx512", "AVX512"), strict=True)),
    "avx2": dict(zip(VARIABLES, ("AVX2", "avx2", "AVX2"), strict=True)),
}


def chosen(isas: Sequence[str] | None, device: str = "cpu") -> list[str]:
    """What to measure, once each.

    Args:
        isas: of `ISAS`; None is what the machine has, and AVX2 where it has more and computes.
        device: ``cpu`` or ``cuda``.

    Raises:
        ConfigError: the processor lacks one, or the environment holds torch back already.
    """
    limits = [name for name in (*VARIABLES, "DNNL_MAX_CPU_ISA") if os.environ.get(name)]
    if limits:
        raise ConfigError(
            f"--isa: expected an environment that lets torch use every instruction, found "
            f"{', '.join(f'{name}={os.environ[name]}' for name in limits)}; unset it"
        )
    has = {"avx2": torch.cpu._is_avx2_supported(), "avx512": torch.cpu._is_avx512_supported()}
    if isas is None:
        return ["native", "avx2"] if has["avx512"] and device == "cpu" else ["native"]
    for isa in isas:
        if not has.get(isa, True):
            raise ConfigError(
                f"--isa {isa}: expected a processor with it, found {processor()}; leave it out"
            )
    return list(dict.fromkeys(isas))


def in_use() -> str:
    """What torch uses in this process, for a table: `AVX512 with bf16`."""
    with_bf16 = " with bf16" if computes_bf16(torch.device("cpu")) else ""
    return torch.backends.cpu.get_cpu_capability() + with_bf16


def processor(file: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as Linux or else Python has it."""
    text = file.read_text() if file.is_file() else ""
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return name[1] if name else platform.processor() or platform.machine()
